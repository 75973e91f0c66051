"""What the report shows of single prompts: the fixed random sample, and beside it what was selected (EVAL-37)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.evaluation.measure import Contest
from components.evaluation.scorers import Judged, Rewards
from components.evaluation.showcase import Selection, disagreements, largest
from components.evaluation.systems import System
from components.evaluation.testset import TestSet

SCORERS = {"reward_model": "reward model", "judge": "judge", "gold": "known truth"}
"""What a reader calls a scorer."""
SELECTED = 5
"""Prompts per selected list."""


@dataclass(frozen=True)
class Evidence:
    """Everything known about the answers, prompt by prompt."""

    test: TestSet
    systems: Mapping[str, System]
    rewards: Rewards | None
    gold: Mapping[str, Sequence[float]] | None
    judged: Judged | None
    contests: Sequence[Contest]


def example(evidence: Evidence, i: int) -> dict[str, Any]:
    """Prompt `i` with every system's answer, scores and verdicts, as plain data."""
    prompt = evidence.test.prompts[i]
    answers = {}
    for name, system in evidence.systems.items():
        answer = system.answers[i]
        row: dict[str, Any] = {"text": answer.text, "tokens": len(answer.token_ids), "finish": answer.finish}
        if evidence.rewards is not None:
            row["reward"] = evidence.rewards.answers[name][i]
        if evidence.gold is not None:
            row["gold"] = evidence.gold[name][i]
        if system.reference_logps:
            row["log_ratio"] = sum(system.own_logps[i]) - sum(system.reference_logps[i])
        answers[name] = row
    verdicts = {f"{contest.scorer}.vs_{contest.opponent}": contest.values[i] for contest in evidence.contests}
    messages = [dict(message) for message in prompt.messages]
    return {
        "prompt_key": prompt.key,
        "source": prompt.source,
        "messages": messages,
        "answers": answers,
        "verdicts": verdicts,
    }


def selections(evidence: Evidence) -> list[Selection]:
    """Against the reference: where scorers disagree, where the judge flips, where the candidate loses most."""
    values = {c.scorer: c.values for c in evidence.contests if c.opponent == "reference"}
    lists = []
    pairs = [("reward_model", "gold"), ("reward_model", "judge"), ("judge", "gold")]
    for first, second in (pair for pair in pairs if pair[0] in values and pair[1] in values):
        sizes = disagreements(values[first], values[second])
        title = f"{SCORERS[first]} and {SCORERS[second]} disagree"
        lists.append(
            largest(title, f"they name different winners; largest {_weight(evidence, sizes)}", sizes, SELECTED)
        )
    if evidence.judged is not None:
        flips = {i: 1.0 for i, r in enumerate(evidence.judged.results["reference"]) if r.consistent is False}
        lists.append(
            largest("the judge flips with the order", "its two orders differ; first in order", flips, SELECTED)
        )
    if evidence.rewards is not None:
        own, other = evidence.rewards.answers["candidate"], evidence.rewards.answers["reference"]
        losses = {i: b - a for i, (a, b) in enumerate(zip(own, other, strict=True)) if a < b}
        lists.append(
            largest("largest losses", "lowest reward of the candidate minus the reference's", losses, SELECTED)
        )
    return lists


def _weight(evidence: Evidence, sizes: dict[int, float]) -> str:
    """Weigh disagreements by the reward difference where there is one; says what it weighed by."""
    if evidence.rewards is None:
        return "difference of values"
    own, other = evidence.rewards.answers["candidate"], evidence.rewards.answers["reference"]
    for i in sizes:
        sizes[i] = abs(own[i] - other[i])
    return "reward difference"
