"""Judges answer questions about completions: language models behind an endpoint or on this machine, or the simulated
truth. Torch-free until a model of this machine is asked.

Who is asked, what is asked and what becomes of the answers are three tables (`table`): JUDGES, PROMPT_CONTRACTS and
SOURCES. An asker takes prompts and knows nothing of pairs; a contract makes prompts of typed items and typed answers
of completions; a source makes judgments of answers.

judge = open_judge(Simulated(noise=0.5), PairVerdict(), outputs.cache, outputs.workdir)
results = judge_both_orders(judge, [PairItem("1", messages, "one text", "another")], rule="mean_p")
judge_stats(results).position_consistency
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.contract.run import Input
from components.errors import WiringError
from components.judges.contract import PromptContract, TextItem
from components.judges.orders import PairResult, Rule, combine, judge_both_orders
from components.judges.pairs import Outcome, PairItem, Verdict
from components.judges.reply import Answer, Item, Judge, Reply
from components.judges.stats import JudgeStats, judge_stats, reply_stats
from components.judges.table import JUDGES, PROMPT_CONTRACTS, SOURCES

__all__ = [
    "JUDGES",
    "PROMPT_CONTRACTS",
    "SOURCES",
    "Judge",
    "JudgeStats",
    "Outcome",
    "PairItem",
    "PairResult",
    "PromptContract",
    "Reply",
    "Rule",
    "TextItem",
    "Verdict",
    "combine",
    "judge_both_orders",
    "judge_stats",
    "open_judge",
    "reply_stats",
]


def open_judge(
    who: Any,
    contract: PromptContract[Item, Answer],
    cache: Path,
    journal: Path | None = None,
    model: Input | None = None,
) -> Judge[Item, Answer]:
    """A row of JUDGES, asked in the words of a contract.

    Answers that cost something are kept under `cache/judges` for all steps of this machine, and in `journal`, which a
    step that goes on elsewhere takes along. `model`: the policy that judges, if the row has an input of this name.
    Raises ParamsError if this judge cannot be asked that way, WiringError for a missing or a needless `model`.
    """
    name, able = who.ROW.name, [row.name for row in JUDGES if "model" in row.facts.get("inputs", ())]
    if model is None and name in able:
        raise WiringError(f"judge {name}: is the policy of the input 'model' (got none). Pass --in model=POLICY.")
    if model is not None and name not in able:
        raise WiringError(
            f"judge {name}: asks no input 'model' (got {model.id}). Leave it out, or choose {' or '.join(able)}."
        )
    given = {"model": model} if model is not None else {}
    judge: Judge[Item, Answer] = who.open(contract, cache, journal, **given)
    return judge
