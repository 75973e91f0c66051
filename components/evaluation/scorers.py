"""Who says which answer is better: the reward model, the judge, the known truth. Each scores texts it never chose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from components.errors import ArtifactError, RecordError
from components.evaluation.params import Params
from components.evaluation.systems import System
from components.evaluation.testset import Prompt, TestSet
from components.judges import Judge, Outcome, PairItem, PairResult, judge_both_orders, open_judge
from components.judges.contracts.pair_verdict import PairVerdict
from components.preference_models import Text
from components.preference_models.model import load_preference_model
from components.records import make_record, simple_task, text_candidate, validate
from components.simulation.world import gold_utility


@dataclass(frozen=True)
class Rewards:
    """Reward model scores: of the held-out comparisons, and of every system's answers."""

    chosen: list[float]
    rejected: list[float]
    answers: dict[str, list[float]]

    @property
    def margins(self) -> list[float]:
        return [c - r for c, r in zip(self.chosen, self.rejected, strict=True)]


def reward_scores(
    path: Path, test: TestSet, systems: Mapping[str, System], params: Params, device: torch.device
) -> Rewards:
    """Score every distinct (prompt, completion) once, so that equal answers get exactly equal scores."""
    wanted: dict[tuple[str, str], Any] = {}
    for key, item in zip(test.keys, test.comparisons, strict=True):
        wanted[key, item.chosen] = wanted[key, item.rejected] = item.messages
    for system in systems.values():
        for prompt, text in zip(test.prompts, system.texts, strict=True):
            wanted[prompt.key, text] = prompt.messages
    model = load_preference_model(path, params.compute, params.micro_batch_tokens)
    values = model.score([Text(messages, text) for (_, text), messages in wanted.items()])
    if values is None:
        raise ArtifactError(f"{path}: a {model.kind.name} model gives no scores. Use a kind that does.")
    score = dict(zip(wanted, values, strict=True))
    return Rewards(
        chosen=[score[key, item.chosen] for key, item in zip(test.keys, test.comparisons, strict=True)],
        rejected=[score[key, item.rejected] for key, item in zip(test.keys, test.comparisons, strict=True)],
        answers={
            name: [score[p.key, text] for p, text in zip(test.prompts, system.texts, strict=True)]
            for name, system in systems.items()
        },
    )


def gold_scores(prompts: Sequence[Prompt], systems: Mapping[str, System]) -> dict[str, list[float]]:
    """The known utility of every answer. Raises RecordError if a prompt is not of the simulated world."""
    asked = [next(m["content"] for m in reversed(p.messages) if m["role"] == "user") for p in prompts]
    return {
        name: [gold_utility(prompt, text) for prompt, text in zip(asked, system.texts, strict=True)]
        for name, system in systems.items()
    }


@dataclass(frozen=True)
class Judged:
    """The judge's results by opponent, one per prompt, and their feedback records."""

    results: dict[str, list[PairResult]]
    records: list[dict[str, Any]]
    left_out: dict[str, int] = field(default_factory=dict)
    """verdicts that cannot be a feedback record, by rule"""
    execution: dict[str, int] = field(default_factory=dict)

    @property
    def all(self) -> list[PairResult]:
        return [result for results in self.results.values() for result in results]


def judge_systems(prompts: Sequence[Prompt], systems: Mapping[str, System], params: Params, cache: Path) -> Judged:
    """The candidate against every other system, each pair in both orders."""
    judge = open_judge(params.judge, PairVerdict(), cache)
    opponents = [name for name in systems if name != "candidate"]
    items = [
        PairItem(f"{name}/{prompt.key}", prompt.messages, own, other)
        for name in opponents
        for prompt, own, other in zip(prompts, systems["candidate"].texts, systems[name].texts, strict=True)
    ]
    results = judge_both_orders(judge, items, rule=params.rule)
    by_opponent = {name: results[i * len(prompts) : (i + 1) * len(prompts)] for i, name in enumerate(opponents)}
    records: list[dict[str, Any]] = []
    left_out: dict[str, int] = {}
    for name in opponents:
        for i, prompt in enumerate(prompts):
            result = by_opponent[name][i]
            if result.identical:
                continue
            try:
                records.append(_verdict_record(prompt, systems["candidate"], systems[name], i, result, judge, params))
            except RecordError as error:
                left_out[error.rule] = left_out.get(error.rule, 0) + 1
    return Judged(by_opponent, records, left_out, judge.execution())


def _verdict_record(
    prompt: Prompt,
    candidate: System,
    opponent: System,
    i: int,
    result: PairResult,
    judge: Judge[PairItem, Outcome],
    params: Params,
) -> dict[str, Any]:
    """Both orders of one pair as a valid FMT-00 record. Raises RecordError if there is no verdict, or an empty text."""
    sampler = {"temperature": params.sampler.temperature, "top_p": params.sampler.top_p}
    sides = [
        text_candidate(
            system.name,
            system.answers[i].text,
            name=system.name,
            revision=system.id,
            params={**sampler, "max_new_tokens": params.sampler.max_new_tokens},
            seed=system.answers[i].seed,
            n_tokens=len(system.answers[i].token_ids),
            truncated=system.answers[i].finish == "length",
        )
        for system in (candidate, opponent)
    ]
    a, b = candidate.name, opponent.name
    judgments: list[dict[str, Any]] = []
    for verdict, order in ((result.first, [a, b]), (result.second, [b, a])):
        if verdict.outcome is not None:
            outcome = {"type": "pairwise", "a": a, "b": b, "outcome": verdict.outcome, "shown_order": order}
            judgments.append(outcome)
            if verdict.text:
                judgments.append(
                    {"type": "rationale", "of": len(judgments) - 1, "text": verdict.text, "author": "judge"}
                )
    record = make_record(
        task=simple_task(list(prompt.messages)),
        candidates=sides,
        judgments=judgments,
        annotator=judge.annotator(PairItem("", prompt.messages, sides[0]["parts"][0]["text"], opponent.texts[i])),
        quality={"parse_ok": bool(judgments), "n_retries": result.first.n_retries + result.second.n_retries},
        provenance={"source": "preflow/evaluation", "license": "unknown", "split": "test"},
    )
    validate(record)
    return record
