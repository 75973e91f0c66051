"""Judges compare two completions of a prompt: language models behind an endpoint, or the simulated truth. Torch-free.

judge = make_judge(params, outputs.cache)
results = judge_both_orders(judge, [PairItem("1", messages, "one text", "another")], rule="mean_p")
judge_stats(results).consistency
"""

from __future__ import annotations

from pathlib import Path

from components.judges.contracts import CONTRACTS, PAIR_VERDICT, PromptContract
from components.judges.orders import PairResult, Rule, combine, judge_both_orders
from components.judges.pairs import Judge, Outcome, PairItem, Verdict
from components.judges.params import JudgeParams
from components.judges.stats import JudgeStats, judge_stats

__all__ = [
    "CONTRACTS",
    "PAIR_VERDICT",
    "Judge",
    "JudgeParams",
    "JudgeStats",
    "Outcome",
    "PairItem",
    "PairResult",
    "PromptContract",
    "Rule",
    "Verdict",
    "combine",
    "judge_both_orders",
    "judge_stats",
    "make_judge",
]


def make_judge(params: JudgeParams, cache_dir: Path) -> Judge:
    """The judge these parameters describe; its answers are kept under `cache_dir/judges`.

    Raises ParamsError when the environment variable that should hold the key is empty.
    """
    # imported here: the parameters of a component import this package and must load fast
    if params.kind == "simulated":
        from components.judges.simulated import SimulatedJudge

        return SimulatedJudge(params)
    from components.judges.endpoint import EndpointJudge

    return EndpointJudge(params, cache_dir / "judges")
