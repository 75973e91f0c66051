"""Where the inputs come from, and whether the preference model may score this candidate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.contract.run import Input
from components.errors import WiringError
from components.evaluation.scores import Scores


def refuse_own_reward_model(policy: Input, scores: Sequence[Scores]) -> None:
    """Raise WiringError if a preference model that scored the answers is among the candidate's ancestors (EVAL-05).

    A policy optimized against a reward model has learned that model's mistakes too: scored by it, it always looks good.
    """
    if policy.record is None:
        return
    ancestors = policy.record.lineage
    direct = [i for ids in policy.record.inputs.values() for i in ([ids] if isinstance(ids, str) else ids)]
    for item in scores:
        if item.kind != "preference_model":
            continue
        model = item.witness
        made_by = item.source.record.lineage.get(model, {}).get("identity") if item.source.record else None
        same_run = made_by is not None and any(a.get("identity") == made_by for a in ancestors.values())
        if model in ancestors or model in direct or same_run:
            raise WiringError(
                f"evaluation --in scores: this reward model trained the candidate (got {model}, an ancestor of policy "
                f"{policy.id}). Score with a second reward model, of other feedback or another seed, or leave the "
                "scores out."
            )


def describe(item: Input) -> dict[str, Any]:
    """One input for the provenance table: no path, no clock."""
    made_by = item.record.component if item.record else "external"
    return {"port": item.port, "id": item.id, "made_by": made_by, "known": item.record is not None}
