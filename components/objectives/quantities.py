"""The closed vocabulary of what an objective may ask for: its argument names are parsed, and are nothing else.

    role[_ref|_prev]_measure    chosen_logps, rejected_ref_logps, listed_lengths, chosen_token_logps, chosen_vocab_kl
    view_measure                pair_logits: what a model says of an example's sequences side by side
    given                       preference_probability, desirable, listed_tiers: what the view's feedback gives
    batch statistic             reference_kl, mean_log_ratio
    trained number              whatever the row says it `trains`

Roles are those of the view. The driver computes exactly what the chosen objective names; a reference model is needed if
and only if a `_ref_` or a measure against the reference is asked for. Axes: [B] one number per example; [B, K] one per
sequence of a role that is there many times, with `role_mask`; [B, T] one per token that counts, with `role_token_mask`.
K and T are ragged: what a mask leaves out is padding, holds any finite number and must not change a loss.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from components.errors import SpecError, nearest
from components.objectives.table import BATCH_STATISTICS
from components.sequences.table import VIEWS

Kind = Literal["logp", "count", "binary", "share", "nonnegative", "real", "rank", "mask"]
"""Bounds of the values: logp <= 0, count >= 1, binary in {0, 1}, share in [0, 1], nonnegative >= 0, rank a whole number
>= 0 that does not fall along K and takes at least two values, mask true where an entry is none of the padding."""


@dataclass(frozen=True)
class Measure:
    """What a model says of a sequence. `per_token`: has the axis T. `against`: compares with the reference model."""

    kind: Kind
    meaning: str
    per_token: bool = False
    against: bool = False


MEASURES: dict[str, Measure] = {
    "logps": Measure("logp", "summed log-probability of the tokens that count (nats)"),
    "lengths": Measure("count", "number of the tokens that count, the EOS included"),
    "mask": Measure("mask", "which sequences there are"),
    "token_logps": Measure("logp", "log-probability of each token that counts (nats)", per_token=True),
    "token_mask": Measure("mask", "which tokens there are", per_token=True),
    "entropy": Measure("nonnegative", "entropy of the distribution of each token (nats)", per_token=True),
    "vocab_kl": Measure(
        "nonnegative",
        "KL(reference || policy) over the whole vocabulary where each token was predicted (nats)",
        per_token=True,
        against=True,
    ),
    "scores": Measure("real", "reward that the preference model gives"),
}

SIDE_BY_SIDE: dict[str, Measure] = {
    "pair_logits": Measure("real", "log-odds that the preference model gives the chosen completion over the rejected"),
}


@dataclass(frozen=True)
class Quantity:
    """One parsed name. `source`: policy, ref, prev, given, batch or trained; `role` and `measure`: "" where none."""

    name: str
    axes: tuple[str, ...]
    kind: Kind
    meaning: str
    source: str
    role: str = ""
    measure: str = ""

    @property
    def models(self) -> tuple[str, ...]:
        """Which models must run for it: policy, ref, prev. Lengths and masks are known without any."""
        if self.measure in ("lengths", "mask", "token_mask") or self.source in ("given", "batch", "trained"):
            return ()
        return ("policy", "ref") if self.role and MEASURES[self.measure].against else (self.source,)


@cache
def _parsed(name: str, view: str) -> Quantity | None:
    facts = VIEWS[view].facts
    roles: Mapping[str, str] = facts["roles"]
    role = next((role for role in roles if name.startswith(f"{role}_")), "")
    many = ("K",) if roles.get(role) == "many" else ()
    if name in facts["given"]:
        said = name.removeprefix(f"{role}_") if role else ""
        return Quantity(name, ("B", *many), facts["given"][name], f"given by the view `{view}`", "given", role, said)
    if name in BATCH_STATISTICS.rows and BATCH_STATISTICS[name].facts["view"] == view:
        row = BATCH_STATISTICS[name]
        return Quantity(name, ("B",), row.facts["kind"], row.summary, "batch")
    if name in SIDE_BY_SIDE and name.startswith(f"{view}_"):
        whole = SIDE_BY_SIDE[name]
        return Quantity(name, ("B",), whole.kind, whole.meaning, "policy", "", name.removeprefix(f"{view}_"))
    found = re.fullmatch(rf"{role}_(?:(ref|prev)_)?({'|'.join(MEASURES)})", name) if role else None
    if found is None or (found[2] == "mask" and not many):
        return None
    measure = MEASURES[found[2]]
    axes = ("B", *many, *(("T",) if measure.per_token else ()))
    return Quantity(name, axes, measure.kind, measure.meaning, found[1] or "policy", role, found[2])


def parse(name: str, view: str, trained: Mapping[str, float] | None = None) -> Quantity:
    """What a name means for examples of a view. Raises SpecError, with the nearest name, where it means nothing."""
    if trained and name in trained:
        return Quantity(name, (), "real", "a number that is trained beside the model", "trained")
    found = _parsed(name, view)
    if found is None:
        raise SpecError(f"quantity '{name}': means nothing for the view '{view}'.{nearest(name, known(view))}")
    return found


def known(view: str) -> list[str]:
    """Every name that means something for a view, but trained numbers."""
    facts = VIEWS[view].facts
    made = [
        f"{role}_{model}{measure}"
        for role, count in facts["roles"].items()
        for model in ("", "ref_", "prev_")
        for measure in MEASURES
        if measure != "mask" or count == "many"
    ]
    whole = [name for name in SIDE_BY_SIDE if name.startswith(f"{view}_")]
    return [*made, *whole, *facts["given"], *(row.name for row in BATCH_STATISTICS if row.facts["view"] == view)]


def markdown() -> list[str]:
    """The vocabulary as lines of Markdown."""
    lines = [
        "## Symbols and quantities",
        "",
        "S is the summed log-probability of a completion under the policy, R under the reference, n its tokens (EOS "
        "included); w is the chosen and l the rejected completion; a = S_w - R_w, b = S_l - R_l, h = a - b; r is a "
        "reward. A quantity is `role_measure` (policy), `role_ref_measure` (reference) or `role_prev_measure` "
        "of the policy before; roles and what the feedback gives are those of the [view](views.md); the rest are "
        "[batch statistics](batch_statistics.md).",
        "",
        "| measure | axes | values | meaning |",
        "|---|---|---|---|",
    ]
    for name, measure in MEASURES.items():
        axes = "[B, T]" if measure.per_token else "[B, K]" if name == "mask" else "[B]"
        lines.append(f"| `{name}` | {axes} | {measure.kind} | {measure.meaning} |")
    lines += [
        f"| `{name}` (whole name) | [B] | {whole.kind} | {whole.meaning} |" for name, whole in SIDE_BY_SIDE.items()
    ]
    return [*lines, "", "Of a role that is there many times (`listed`) every measure has the axis K after B."]
