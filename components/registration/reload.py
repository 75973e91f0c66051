"""The stored weights must compute what the trained ones computed."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from components.errors import ArtifactError
from components.sequences import Sequence
from components.training.params import Compute
from components.training.runtime import load_policy
from components.training.scoring_check import FILE as CHECK
from components.training.scoring_check import score

TOLERANCE = 1e-4
"""Largest relative difference (absolute below 1 nat) where bits cannot be expected to be equal."""


@dataclass(frozen=True)
class Reload:
    """How the stored weights compare: rows scored, largest difference in nats, and whether bits had to be equal."""

    rows: int
    largest: float
    exact: bool


def read_check(policy: Path) -> dict[str, Any]:
    """The rows that the training step scored before it saved. Raises ArtifactError if there are none."""
    path = policy / CHECK
    if not path.is_file():
        raise ArtifactError(
            f"{policy}: no {CHECK}, so nobody can tell whether the stored weights are the trained ones. "
            "Register the output of policy_optimization, which writes it."
        )
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        rows = [(item["prompt_ids"], item["completion_ids"], float(item["logprob"])) for item in raw["items"]]
        compute = raw["compute"]
    except (ValueError, TypeError, KeyError) as error:
        raise ArtifactError(f"{path}: not a scoring check ({error!r}). Rerun policy_optimization.") from error
    if not rows:
        raise ArtifactError(f"{path}: holds no rows (got 0). Rerun policy_optimization.")
    return {"rows": rows, "compute": compute}


def check_reload(policy: Path, compute: Compute, *, exact: bool) -> Reload:
    """Load a stored policy and score the rows of its check again. Raises ArtifactError on a mismatch.

    On a CPU with the threads of the training step bits must be equal (unless `exact` is false); elsewhere within
    TOLERANCE. The precision is that of the training step.
    """
    check = read_check(policy)
    made_on = check["compute"]
    compute = replace(compute, precision=made_on.get("precision", compute.precision))
    exact = exact and compute.device == "cpu" == made_on.get("device") and compute.threads == made_on.get("threads")
    model, _ = load_policy(policy, compute)
    found = score(model, [Sequence(prompt, completion) for prompt, completion, _ in check["rows"]], compute)
    largest = 0.0
    for number, (got, (_, _, want)) in enumerate(zip(found, check["rows"], strict=True)):
        gap, allowed = abs(got - want), 0.0 if exact else TOLERANCE * max(1.0, abs(want))
        if not gap <= allowed:
            raise ArtifactError(_mismatch(policy, number, got, want, exact))
        largest = max(largest, gap)
    return Reload(rows=len(found), largest=largest, exact=exact)


def _mismatch(policy: Path, number: int, got: float, want: float, exact: bool) -> str:
    rule = "bit by bit" if exact else f"to {TOLERANCE:g}"
    return (
        f"{policy}: the stored weights are not the trained ones: row {number} of {CHECK} scores {got!r}, the training "
        f"step got {want!r}, and they must agree {rule}. Rerun policy_optimization; if its machine had another kind "
        "of CPU, set registration.exact: false."
    )
