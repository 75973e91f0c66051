"""The objectives are plain functions of tensors: call them, differentiate them, plot them, without any trainer.

python examples/objectives.py
"""

import torch

from components.contract import Choice
from components.objectives import OBJECTIVES, bind

# Two comparisons: summed log-probabilities of the completions under the policy and under the reference.
quantities = {
    "chosen_logps": torch.tensor([-10.0, -20.0], requires_grad=True),
    "rejected_logps": torch.tensor([-12.0, -18.0], requires_grad=True),
    "chosen_ref_logps": torch.tensor([-11.0, -19.0]),
    "rejected_ref_logps": torch.tensor([-11.5, -18.5]),
    "chosen_lengths": torch.tensor([5.0, 8.0]),
    "rejected_lengths": torch.tensor([6.0, 4.0]),
}

for row in OBJECTIVES:
    if row.facts["view"] != "pair" or not set(row.needs) <= set(quantities):
        continue
    loss = bind(Choice(row.name))(**{need: quantities[need] for need in row.needs})
    (slope,) = torch.autograd.grad(loss.sum(), quantities["chosen_logps"])
    values, slopes = ([round(x, 4) for x in tensor.tolist()] for tensor in (loss, slope))
    print(f"{row.name:<9} loss {values}  d loss / d chosen {slopes}")
