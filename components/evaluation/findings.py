"""Plain sentences about the numbers: the verdict of each comparison, and what to check before trusting it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

from components.evaluation.examples import SCORERS, Evidence
from components.evaluation.measure import Table
from components.statistics.intervals import Estimate

BETTER, WORSE, UNCLEAR, NONE = "better", "worse", "no clear difference", "no verdict"


@dataclass(frozen=True)
class Finding:
    """level: `warn` (a reason for doubt) or `note` (good to know)."""

    level: str
    text: str


def verdict(row: Estimate | None) -> str:
    """What an interval against 0.5 says."""
    if row is None or row["ci_low"] is None or row["ci_high"] is None:
        return NONE
    return BETTER if row["ci_low"] > 0.5 else WORSE if row["ci_high"] < 0.5 else UNCLEAR


def detectable(n: int) -> float:
    """The smallest distance from 0.5 that n prompts without ties show in 80% of cases at the 5% level (EVAL-38 g)."""
    return (1.959964 + 0.841621) * 0.5 / sqrt(n)


def findings(evidence: Evidence, table: Table) -> list[Finding]:
    """Warnings first."""
    checks = (_contamination, _length, _disagreement, _reward_model, _judge, _answers, _size, _tokens)
    found = [finding for check in checks for finding in check(evidence, table)]
    return sorted(found, key=lambda finding: finding.level != "warn")


def _value(table: Table, name: str) -> float | None:
    row = table.metrics.get(name)
    return None if row is None else float(row["value"])


def _contamination(evidence: Evidence, table: Table) -> Iterator[Finding]:
    leaked, overlapping = sum(evidence.test.leaked), sum(evidence.test.overlapping)
    if leaked:
        yield Finding("warn", f"{leaked} of {evidence.test.available} test prompts also stand in the train split.")
    if overlapping:
        share = f"{overlapping} of {evidence.test.available}"
        yield Finding("warn", f"{share} test prompts share 13 words in a row with a train prompt.")


def _length(evidence: Evidence, table: Table) -> Iterator[Finding]:
    ratio = _value(table, "length.ratio_to_reference")
    if ratio is not None and not 0.77 <= ratio <= 1.3:
        yield Finding("warn", f"The candidate's answers are {ratio:.2f} times as long as the reference's.")
    for contest in evidence.contests:
        if verdict(table.metrics.get(contest.metric)) != BETTER:
            continue
        name = contest.metric.replace("win_rate", "win_rate_length_balanced", 1)
        scorer = SCORERS[contest.scorer]
        if name in table.metrics and verdict(table.metrics[name]) != BETTER:
            row = table.metrics[name]
            yield Finding(
                "warn",
                f"Length may explain the {scorer}'s preference over the {contest.opponent}: with longer and shorter "
                f"answers counted equally its win rate is {row['value']:.1%}, an interval that reaches 50%.",
            )
        if name in table.missing:
            yield Finding("note", f"No length-balanced win rate ({scorer}, {contest.opponent}): {table.missing[name]}.")


def _disagreement(evidence: Evidence, table: Table) -> Iterator[Finding]:
    """A gain that only the reward model sees may be its own mistake, learned by the policy (EVAL-21)."""
    said = {(c.scorer, c.opponent): verdict(table.metrics.get(c.metric)) for c in evidence.contests}
    for (scorer, opponent), what in said.items():
        others = [name for name in ("judge", "gold") if said.get((name, opponent), what) != BETTER]
        if scorer == "reward_model" and what == BETTER and others:
            names = " and ".join(f"the {SCORERS[name]}" for name in others)
            verb = "does" if len(others) == 1 else "do"
            yield Finding(
                "warn",
                f"The reward model prefers the candidate to the {opponent}, {names} {verb} not clearly: "
                "its score may be over-optimized.",
            )


def _reward_model(evidence: Evidence, table: Table) -> Iterator[Finding]:
    own = table.metrics.get("reward_model.accuracy")
    if own is None or own["ci_low"] is None:
        return
    for name, label in (("length", "picking the longer answer"), ("bag_of_words", "a bag of words")):
        baseline = _value(table, f"baseline.{name}.accuracy")
        if baseline is not None and own["ci_low"] <= baseline:
            yield Finding(
                "warn",
                f"The reward model ({own['value']:.1%}) is not clearly better than {label} ({baseline:.1%}).",
            )
    ece = _value(table, "reward_model.ece10")
    if ece is not None and ece > 0.08:
        yield Finding("warn", f"The reward model's margins are no probabilities: calibration error {ece:.3f}.")


def _judge(evidence: Evidence, table: Table) -> Iterator[Finding]:
    consistency = _value(table, "judge.position_consistency")
    if consistency is not None and consistency < 0.7:
        yield Finding("warn", f"The judge gives both orders the same verdict in only {consistency:.1%} of pairs.")
    failures = _value(table, "judge.parse_failure_rate")
    if failures is not None and failures > 0.02:
        yield Finding("warn", f"{failures:.1%} of the judge's answers hold no readable verdict.")


def _answers(evidence: Evidence, table: Table) -> Iterator[Finding]:
    truncated = _value(table, "completions.truncated_rate")
    if truncated is not None and truncated > 0.1:
        yield Finding("warn", f"{truncated:.1%} of the candidate's answers were cut at the length limit.")
    empty = _value(table, "completions.empty_rate")
    if empty:
        yield Finding("warn", f"{empty:.1%} of the candidate's answers are empty.")
    same = _value(table, "completions.identical_to_reference")
    if same is not None and same > 0.2:
        yield Finding("note", f"Candidate and reference give the same text on {same:.1%} of the prompts: ties.")
    if evidence.systems["candidate"].id == evidence.systems["reference"].id:
        yield Finding("note", "Candidate and reference are the same policy.")


def _size(evidence: Evidence, table: Table) -> Iterator[Finding]:
    n = len(evidence.test.prompts)
    level = "warn" if n < 100 else "note"
    yield Finding(
        level,
        f"With {n} prompts, a win rate {100 * detectable(n):.1f} points from 50% is seen in 4 of 5 evaluations.",
    )


def _tokens(evidence: Evidence, table: Table) -> Iterator[Finding]:
    for system in evidence.systems.values():
        if system.unclean_pairs:
            yield Finding(
                "warn",
                f"{system.unclean_pairs} completions of the test comparisons do not continue their prompt's tokens "
                f"under the {system.name}'s tokenizer; they were tokenized by themselves.",
            )
