"""Where the inputs come from, and whether the reward model may score this candidate."""

from __future__ import annotations

from typing import Any

from components.contract.run import Input, Inputs
from components.errors import WiringError


def refuse_own_reward_model(inputs: Inputs) -> None:
    """Raise WiringError if the reward model is among the candidate's ancestors (EVAL-05).

    A policy optimized against a reward model has learned that model's mistakes too: scored by it, it always looks good.
    """
    model, policy = inputs.get("reward_model"), inputs["policy"]
    if model is None or policy.record is None:
        return
    made_it = {model.record.identity} if model.record else set()
    ancestors = policy.record.lineage
    direct = [i for ids in policy.record.inputs.values() for i in ([ids] if isinstance(ids, str) else ids)]
    if model.id in ancestors or model.id in direct or any(a.get("identity") in made_it for a in ancestors.values()):
        raise WiringError(
            f"evaluation --in reward_model: this reward model trained the candidate (got {model.id}, an ancestor of "
            f"policy {policy.id}). Fit a second reward model on other feedback or another seed, or leave the input out."
        )


def describe(item: Input) -> dict[str, Any]:
    """One input for the provenance table: no path, no clock."""
    made_by = item.record.component if item.record else "external"
    return {"port": item.port, "id": item.id, "made_by": made_by, "known": item.record is not None}
