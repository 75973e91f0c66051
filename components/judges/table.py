"""The three tables of judging: who is asked, what is asked, and what becomes of the answers. Torch-free."""

from __future__ import annotations

from components.contract.table import Table

JUDGES = Table(
    "judges",
    "judge",
    "components.judges.kinds",
    "Who is asked: a language model behind an endpoint or on this machine, or the known truth of the simulated world.",
)

PROMPT_CONTRACTS = Table(
    "prompt_contracts",
    "prompt contract",
    "components.judges.contracts",
    "What a judge is told about an item (`pair`: two completions of a prompt, `completion`: one), and how its own "
    "words are read as an answer (`verdict`: a, b or tie, `grade`: a number on the contract's scale).",
    facts=("method", "source", "item", "answer"),
)

SOURCES = Table(
    "sources",
    "source of feedback",
    "components.judges.sources",
    "What becomes of the answers about one item: the judgments of a feedback record, or the reason why there are none.",
    facts=("method", "source", "item", "answer", "counts"),
)
