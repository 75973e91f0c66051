"""What LoRA is to adapt is asked of the loaded model: layers that are there, and weights that are theirs alone."""

from __future__ import annotations

import pytest
import torch

from components.errors import ParamsError
from components.training.lora import add_adapters, merge_adapters
from components.training.lora_targets import check_targets
from components.training.params import Lora
from tests.tiny import tiny_model

IDS = torch.tensor([[7, 8, 9, 10]])


def test_names_that_are_not_layers_are_refused() -> None:
    for target in ("no_such_layer", "input_layernorm", "act_fn", "proj"):
        with pytest.raises(ParamsError, match=rf"\(got {target}\). Choose from down_proj, embed_tokens"):
            check_targets(tiny_model(), Lora(rank=2, targets=("q_proj", target)))


@pytest.mark.filterwarnings("ignore:Model (has|with)")  # peft says so too, and goes on
def test_an_adapter_on_shared_weights_is_refused_since_it_cannot_be_merged() -> None:
    """The reason, measured: merged into the shared weights the adapter moves the embeddings as well."""
    lora = Lora(rank=2, targets=("lm_head",))
    gaps = {}
    for tied in (False, True):
        model = add_adapters(tiny_model(tie_word_embeddings=tied), lora, seed=0)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.ones_(parameter)
        with torch.no_grad():
            trained = model(input_ids=IDS).logits
            gaps[tied] = float((merge_adapters(model)(input_ids=IDS).logits - trained).abs().max())
    assert gaps[False] < 1e-3 < 0.1 < gaps[True]
    check_targets(tiny_model(), lora)
    with pytest.raises(ParamsError, match=r"lm_head shares its weights with model.embed_tokens"):
        check_targets(tiny_model(tie_word_embeddings=True), lora)


def test_all_linear_leaves_the_output_layer_out() -> None:
    check_targets(tiny_model(tie_word_embeddings=True), Lora(rank=2))
