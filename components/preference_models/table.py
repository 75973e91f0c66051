"""The table of kinds of preference models, and what a row's signature says about it. Torch-free.

A kind is what is read off a text (READS) and how two of these readings give a preference. A row that takes `values` is
the score [N] of a text, and its logit of a preference is the difference of two scores. A row that takes `first` and
`second` [N, D] is itself the logit [N] of P(first is preferred), and must change its sign exactly when the two are
exchanged. D is the knob `width`, or 1.
"""

from __future__ import annotations

from components.contract.table import Table

READS = {
    "last": "values [N, D]: a linear head of D values at the last token of each text",
    "every": "values [N, T, D] and mask [N, T]: the same head at every token of the completion",
    "segments": "values [N, S, D] and mask [N, S]: the same head at the last token of each span (`Sequence.spans`) "
    "of the completion, which is one span where none are given",
    "members": "values [N, M]: the scores of M other preference models, each in its own standard units",
}
"""What can be read off N texts."""

READOUTS = ("last", "every", "segments")
"""What a network of its own reads: the kinds that can be trained."""

PREFERENCE_MODELS = Table(
    "preference_models",
    "kind of preference model",
    "components.preference_models",
    "What a preference model reads off a text, and how two readings give P(the first is preferred).",
    facts=("method", "reads"),
    appendix="components.preference_models.table:markdown",
)


def is_scored(name: str) -> bool:
    """Whether this kind gives every text a score of its own. Raises ParamsError for an unknown name."""
    return "values" in PREFERENCE_MODELS[name].needs


def gives(name: str) -> tuple[str, ...]:
    """The measures that an objective can have from this kind: of a sequence, and of two side by side."""
    return ("scores", "logits") if is_scored(name) else ("logits",)


def markdown() -> list[str]:
    """What a row can read and be, as lines of Markdown."""
    lines = [
        "## What a kind reads",
        "",
        "A row that takes `values` is the score of a text, compared by differences; a row that takes `first` and "
        "`second` is the log-odds that the first is preferred. D is the knob `width`, or 1.",
        "",
        "| reads | what the row is given |",
        "|---|---|",
    ]
    return lines + [f"| `{name}` | {what} |" for name, what in READS.items()]
