"""The closed vocabulary of what an objective may ask for. Its argument names are these names and nothing else.

The driver computes exactly the quantities that the chosen objective names; a reference model is needed if and only if
one of them has `ref` in its name. Adding a quantity is one entry here and one producer in the driver.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["logp", "count", "binary", "probability", "nonnegative", "real"]


@dataclass(frozen=True)
class Quantity:
    """`kind` bounds the values: logp <= 0, count >= 1, binary in {0, 1}, probability in [0, 1], nonnegative >= 0."""

    name: str
    shape: str
    kind: Kind
    meaning: str


_ALL = (
    Quantity("chosen_logps", "[B]", "logp", "summed log-probability of the chosen completion under the policy"),
    Quantity("rejected_logps", "[B]", "logp", "summed log-probability of the rejected completion under the policy"),
    Quantity("chosen_ref_logps", "[B]", "logp", "the same for the chosen completion under the reference, no gradient"),
    Quantity("rejected_ref_logps", "[B]", "logp", "the same for the rejected completion under the reference"),
    Quantity("chosen_lengths", "[B]", "count", "tokens of the chosen completion, the EOS included"),
    Quantity("rejected_lengths", "[B]", "count", "tokens of the rejected completion, the EOS included"),
    Quantity("completion_logps", "[B]", "logp", "summed log-probability of a single completion under the policy"),
    Quantity("completion_ref_logps", "[B]", "logp", "the same under the reference, no gradient"),
    Quantity("completion_lengths", "[B]", "count", "tokens of a single completion, the EOS included"),
    Quantity("desirable", "[B]", "binary", "1 if the single completion is desirable, 0 if not"),
    Quantity(
        "reference_kl",
        "[B]",
        "nonnegative",
        "KTO's reference point: mean over the global batch of log-ratios of mismatched completions, at least 0, "
        "no gradient",
    ),
    Quantity("preference_probability", "[B]", "probability", "P(chosen is preferred); 0.5 for a tie"),
    Quantity("margin", "[B]", "nonnegative", "strength of the preference; 0 if none was stated"),
    Quantity("chosen_scores", "[B]", "real", "reward of the chosen completion"),
    Quantity("rejected_scores", "[B]", "real", "reward of the rejected completion"),
    Quantity("pair_logits", "[B]", "real", "log-odds that a preference model gives the chosen completion"),
)

QUANTITIES: dict[str, Quantity] = {quantity.name: quantity for quantity in _ALL}


def markdown() -> list[str]:
    """The vocabulary as lines of Markdown."""
    head = [
        "## Symbols and quantities",
        "",
        "S is the summed log-probability of a completion under the policy, R under the reference, n its tokens (EOS "
        "included); w is the chosen and l the rejected completion; a = S_w - R_w, b = S_l - R_l, h = a - b; r is a "
        "reward.",
        "",
        "| name | shape | values | meaning |",
        "|---|---|---|---|",
    ]
    return head + [f"| `{q.name}` | {q.shape} | {q.kind} | {q.meaning} |" for q in QUANTITIES.values()]
