"""The report as one self-contained HTML page. The same evaluation gives the same bytes: no clock, host or path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from components.evaluation import plots
from components.evaluation.examples import SCORERS, Evidence
from components.evaluation.findings import BETTER, NONE, UNCLEAR, WORSE, findings, verdict
from components.evaluation.measure import Contest, Table
from components.statistics.calibration import ece_floor, reliability
from components.statistics.intervals import Estimate

SYSTEMS = ("candidate", "reference", "champion")
SENTENCES = {
    BETTER: "better than the {}",
    WORSE: "worse than the {}",
    UNCLEAR: "no clear difference to the {}",
    NONE: "no verdict on the {}",
}
SCORER_ROWS = (
    ("reward_model.accuracy", "reward model, equal scores count as wrong", "percent"),
    ("reward_model.accuracy_tie_half", "reward model, equal scores count half", "percent"),
    ("reward_model.accuracy.group_min", "reward model, worst source (simultaneous interval)", "percent"),
    ("baseline.bag_of_words.accuracy", "baseline: bag of words fitted on the train split", "percent"),
    ("baseline.length.accuracy", "baseline: the longer completion", "percent"),
    ("reward_model.ece10", "reward model, expected calibration error (10 bins)", "number"),
    ("reward_model.brier", "reward model, Brier score", "number"),
    ("reward_model.nll", "reward model, negative log-likelihood", "number"),
    ("reward_model.length_correlation", "reward model, correlation of reward and length over all answers", "number"),
    ("implicit_reward.accuracy", "implicit reward of the candidate, log pi/ref", "percent"),
    ("implicit_reward.accuracy.champion", "implicit reward of the champion", "percent"),
    ("ranking.accuracy", "likelihood under the candidate", "percent"),
    ("ranking.accuracy.reference", "likelihood under the reference", "percent"),
    ("ranking.accuracy_per_token", "likelihood per token under the candidate", "percent"),
    ("ranking.accuracy_per_token.reference", "likelihood per token under the reference", "percent"),
)
BEHAVIOUR_ROWS = (
    ("kl.sequence_k1", "KL to the reference, nats per answer (k1)", "number"),
    ("kl.token_k1", "KL per token (k1)", "number"),
    ("kl.token_k3", "KL per token (k3)", "number"),
    ("length.mean", "mean length, tokens", "number"),
    ("length.p95", "95th percentile of length", "number"),
    ("length.ratio_to_reference", "length relative to the reference", "number"),
    ("completions.eos_rate", "answers that end by themselves", "percent"),
    ("completions.truncated_rate", "answers cut at the limit", "percent"),
    ("completions.empty_rate", "empty answers", "percent"),
    ("completions.distinct_2", "distinct bigrams over all answers", "percent"),
    ("completions.repetition", "repeated trigrams within an answer", "percent"),
    ("completions.identical_to_reference", "answers identical to the reference's", "percent"),
)
JUDGE_ROWS = (
    ("judge.position_consistency", "both orders give the same verdict", "100% is best; do not trust a judge below 70%"),
    ("judge.first_position_rate", "inconsistent pairs that lean to the first answer", "50% is unbiased"),
    ("judge.parse_failure_rate", "questions without a readable verdict", "0% is best"),
    ("judge.prefers_longer", "decided for the clearly longer answer", "compare with the other scorers"),
)
CURVES = ("loss", "rewards/accuracies", "rewards/margins", "kl", "mean_token_accuracy", "accuracy")
"""Metrics of a training log that are drawn, the first four that are there."""


@dataclass(frozen=True)
class Page:
    """What the page is made of, beside the evidence and the table."""

    identity: str
    provenance: Sequence[dict[str, Any]]
    params: str
    training_log: Sequence[dict[str, Any]]
    sample: Sequence[dict[str, Any]]
    selected: Sequence[dict[str, Any]]
    rule: str


def percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def number(value: float | None) -> str:
    """Three significant digits, no exponent for ordinary sizes."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def render(evidence: Evidence, table: Table, page: Page) -> str:
    """The HTML text."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, number=number)
    return environment.get_template("report.html.j2").render(
        page=page,
        systems=list(evidence.systems.values()),
        scorers=SCORERS,
        metrics=table.metrics,
        missing=table.missing,
        slices=table.slices,
        contests=[_card(table, contest) for contest in evidence.contests],
        findings=findings(evidence, table),
        plots=_plots(evidence, table, page.training_log),
        n_prompts=len(evidence.test.prompts),
        test=evidence.test,
        names=[name for name in SYSTEMS if name in evidence.systems],
        headline=headline(evidence, table),
        judge=_judge(evidence, page.rule),
        ece_floor=ece_floor(max(1, len(evidence.test.comparisons))),
        scorer_rows=SCORER_ROWS,
        behaviour_rows=BEHAVIOUR_ROWS,
        judge_rows=JUDGE_ROWS,
    )


def headline(evidence: Evidence, table: Table) -> str:
    """One sentence: what the scorers say about the candidate, opponent by opponent."""
    parts = []
    for opponent in ("reference", "champion"):
        said: dict[str, list[str]] = {}
        for contest in (c for c in evidence.contests if c.opponent == opponent):
            said.setdefault(verdict(table.metrics.get(contest.metric)), []).append(SCORERS[contest.scorer])
        if len(said) == 1:
            parts.append(SENTENCES[next(iter(said))].format(opponent))
        elif said:
            ordered = [(what, said[what]) for what in SENTENCES if what in said]
            first = f"{SENTENCES[ordered[0][0]].format(opponent)} ({', '.join(ordered[0][1])})"
            parts.append(", ".join([first, *(f"{what} ({', '.join(who)})" for what, who in ordered[1:])]))
    text = "; ".join(parts) or "no scorer compared the candidate with anything"
    return f"{text[0].upper()}{text[1:]}."


def _judge(evidence: Evidence, rule: str) -> dict[str, Any] | None:
    if evidence.judged is None:
        return None
    results = evidence.judged.all
    return {
        "rule": rule,
        "asked": sum(not result.identical for result in results),
        "identical": sum(result.identical for result in results),
        "excluded": sum(result.outcome is None for result in results),
    }


def _card(table: Table, contest: Contest) -> dict[str, Any]:
    """One comparison as the cards and the table of win rates show it."""
    row = table.metrics.get(contest.metric)
    balanced = table.metrics.get(contest.metric.replace("win_rate", "win_rate_length_balanced", 1))
    name = f"{contest.scorer}.vs_{contest.opponent}"
    return {
        "scorer": SCORERS[contest.scorer],
        "opponent": contest.opponent,
        "estimate": row,
        "verdict": verdict(row),
        "tally": contest.tally,
        "balanced": balanced,
        "gain": table.metrics.get(f"gain.{name}"),
        "within": table.metrics.get(f"gain_within_length.{name}"),
    }


def _plots(evidence: Evidence, table: Table, log: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Every plot by name; empty where there are no data for it."""
    drawn: dict[str, str | list[str]] = dict.fromkeys(("rewards", "reliability", "kl"), "")
    drawn |= {"win_rates": _forest(evidence, table), "accuracy": _accuracy(table), "curves": _curves(log)}
    lengths = {name: system.lengths for name, system in evidence.systems.items()}
    drawn["lengths"] = plots.histogram("lengths", "Answer lengths", "tokens per answer", lengths)
    if evidence.rewards is not None:
        answers = evidence.rewards.answers
        drawn["rewards"] = plots.histogram("rewards", "Rewards of the answers", "reward", answers)
        if evidence.test.comparisons:
            margins = evidence.rewards.margins
            drawn["reliability"] = plots.reliability_diagram(reliability(margins, [1.0] * len(margins)))
    ratios = {
        name: [sum(a) - sum(b) for a, b in zip(system.own_logps, system.reference_logps, strict=True)]
        for name, system in evidence.systems.items()
        if name != "reference" and system.reference_logps
    }
    if ratios:
        label = "log-probability minus the reference's, nats per answer"
        drawn["kl"] = plots.histogram("kl", "Log ratios of the answers", label, ratios, zero_line=True)
    return {
        name: [Markup(svg) for svg in drawing] if isinstance(drawing, list) else Markup(drawing)
        for name, drawing in drawn.items()
    }


def _forest(evidence: Evidence, table: Table) -> str:
    rows: list[tuple[str, Estimate]] = []
    for contest in evidence.contests:
        if contest.metric in table.metrics:
            label = f"{SCORERS[contest.scorer]}\nvs {contest.opponent}"
            rows.append((label, table.metrics[contest.metric]))
    return plots.forest(rows) if rows else ""


def _accuracy(table: Table) -> str:
    names = {
        "reward_model.accuracy": ("reward model", True),
        "implicit_reward.accuracy": ("implicit reward", True),
        "ranking.accuracy": ("candidate's likelihood", True),
        "ranking.accuracy.reference": ("reference's likelihood", False),
        "baseline.bag_of_words.accuracy": ("bag of words", False),
        "baseline.length.accuracy": ("longer is better", False),
    }
    rows = [(label, table.metrics[name], own) for name, (label, own) in names.items() if name in table.metrics]
    return plots.accuracy(rows) if rows else ""


def _curves(log: Sequence[dict[str, Any]]) -> list[str]:
    drawn: list[str] = []
    for metric in CURVES:
        points = [(row["step"], row[metric]) for row in log if metric in row and "step" in row]
        if len(points) > 1:
            steps, values = zip(*points, strict=True)
            drawn.append(plots.curve(f"curve{len(drawn)}", metric, steps, values))
    return drawn[:4]
