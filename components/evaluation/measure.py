"""From answers and scores to the flat table of metrics.

Names are `family.metric[.slice]`. A metric of answers without a system's name is the candidate's; `.reference` and
`.champion` name the others, `.vs_reference` and `.vs_champion` the opponent of a comparison.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from components.evaluation import compare, divergence, text_statistics
from components.evaluation.compare import Tally, Values
from components.evaluation.scorers import Judged, Rewards
from components.evaluation.systems import System
from components.evaluation.testset import TestSet
from components.judges import PairResult
from components.statistics import bag_of_words_baseline, length_baseline
from components.statistics.calibration import brier_of_pairs, ece_of_pairs, nll_of_pairs
from components.statistics.intervals import Bootstrap, Estimate, point

LONGER = 30
"""Characters by which one answer must be longer to count as the longer one (EVAL-27)."""


@dataclass
class Table:
    """What came out, and what could not, with the reason. A missing metric is never a 0."""

    metrics: dict[str, Estimate] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    slices: list[dict[str, Any]] = field(default_factory=list)

    def add(self, name: str, value: Estimate | None, why: str) -> None:
        """Keep an estimate, or why there is none."""
        if value is None:
            self.missing[name] = why
        else:
            self.metrics[name] = value

    def add_slices(self, metric: str, dimension: str, rows: Sequence[compare.Slice]) -> None:
        for row in rows:
            own = {"metric": metric, "dimension": dimension, "group": row.group, "eligible": row.eligible}
            self.slices.append(own | row.estimate)


@dataclass(frozen=True)
class Contest:
    """The candidate against one opponent by one scorer; one value per prompt."""

    scorer: str
    opponent: str
    values: Values
    tally: Tally

    @property
    def metric(self) -> str:
        return f"win_rate.{self.scorer}.vs_{self.opponent}"


def _suffix(name: str) -> str:
    return "" if name == "candidate" else f".{name}"


def measure_data(table: Table, test: TestSet, bootstrap: Bootstrap) -> None:
    """Contamination, over all test prompts (EVAL-01)."""
    table.metrics["contamination.exact"] = bootstrap.rate([float(x) for x in test.leaked])
    table.metrics["contamination.ngram_13"] = bootstrap.rate([float(x) for x in test.overlapping])


def measure_reward_model(table: Table, test: TestSet, rewards: Rewards, bootstrap: Bootstrap) -> None:
    """Accuracy in both conventions (EVAL-16), calibration (EVAL-15), slices; ties of the annotators are left out."""
    if not test.comparisons:
        table.missing["reward_model.accuracy"] = "the test split holds no decided comparison"
        return
    strict = [float(c > r) for c, r in zip(rewards.chosen, rewards.rejected, strict=True)]
    half = compare.from_scores(rewards.chosen, rewards.rejected)
    table.metrics["reward_model.accuracy"] = bootstrap.rate(strict, test.keys)
    table.metrics["reward_model.accuracy_tie_half"] = bootstrap.rate(half, test.keys)
    # hard labels: the soft ones of aggregated votes are smoothed, which would count as miscalibration
    for metric, function in (("ece10", ece_of_pairs), ("brier", brier_of_pairs), ("nll", nll_of_pairs)):
        row = function(rewards.margins, [1.0] * len(test.keys), test.keys, bootstrap)
        table.metrics[f"reward_model.{metric}"] = row
    sources = [item.source for item in test.comparisons]
    kinds = [_length_kind(len(item.chosen) - len(item.rejected), "chosen") for item in test.comparisons]
    name = "reward_model.accuracy"
    table.add_slices(name, "source", compare.slices(strict, sources, bootstrap, test.keys))
    table.add_slices(name, "length", compare.slices(strict, kinds, bootstrap, test.keys))
    worst = compare.worst_group(strict, sources, bootstrap, test.keys)
    table.add(f"{name}.group_min", worst.estimate if worst else None, _few_groups())


def _few_groups() -> str:
    return f"fewer than two sources with {compare.MIN_GROUP} prompts or more"


def _length_kind(gap: float, who: str) -> str:
    return f"{who} longer" if gap > 0 else f"{who} shorter" if gap < 0 else "equal length"


def measure_baselines(table: Table, test: TestSet, bootstrap: Bootstrap) -> None:
    """What a scorer must beat, on the same comparisons: the longer one wins, and a bag of words."""
    if not test.comparisons:
        return
    table.metrics["baseline.length.accuracy"] = length_baseline(test.comparisons, bootstrap)
    if test.train:
        table.metrics["baseline.bag_of_words.accuracy"] = bag_of_words_baseline(test.train, test.comparisons, bootstrap)
    else:
        table.missing["baseline.bag_of_words.accuracy"] = "the train split holds no decided comparison"


def measure_ranking(table: Table, test: TestSet, systems: Mapping[str, System], bootstrap: Bootstrap) -> None:
    """Which completion of a comparison a policy finds likelier (EVAL-19), and its implicit reward (EVAL-20)."""
    if not test.comparisons:
        table.missing["ranking.accuracy"] = "the test split holds no decided comparison"
        return
    reference = systems["reference"]
    for name, system in systems.items():
        right = divergence.ranked_right(system.chosen_logps, system.rejected_logps)
        table.metrics[f"ranking.accuracy{_suffix(name)}"] = bootstrap.rate(right, test.keys)
        per_token = divergence.ranked_right(
            [s / n for s, n in zip(system.chosen_logps, system.chosen_lengths, strict=True)],
            [s / n for s, n in zip(system.rejected_logps, system.rejected_lengths, strict=True)],
        )
        table.metrics[f"ranking.accuracy_per_token{_suffix(name)}"] = bootstrap.rate(per_token, test.keys)
        if name != "reference":
            chosen = divergence.log_ratios(system.chosen_logps, reference.chosen_logps)
            rejected = divergence.log_ratios(system.rejected_logps, reference.rejected_logps)
            right = divergence.ranked_right(chosen, rejected)
            table.metrics[f"implicit_reward.accuracy{_suffix(name)}"] = bootstrap.rate(right, test.keys)


def contests(
    systems: Mapping[str, System],
    rewards: Rewards | None,
    gold: Mapping[str, Sequence[float]] | None,
    judged: Judged | None,
) -> list[Contest]:
    """Every scorer and opponent there is."""
    found = []
    for opponent in (name for name in ("reference", "champion") if name in systems):
        values: dict[str, Values] = {}
        if rewards is not None:
            values["reward_model"] = compare.from_scores(rewards.answers["candidate"], rewards.answers[opponent])
        if judged is not None:
            values["judge"] = [result.p_a for result in judged.results[opponent]]
        if gold is not None:
            values["gold"] = compare.from_scores(gold["candidate"], gold[opponent])
        found += [Contest(scorer, opponent, v, compare.tally(v)) for scorer, v in values.items()]
    return found


def measure_contest(
    table: Table, test: TestSet, contest: Contest, systems: Mapping[str, System], bootstrap: Bootstrap
) -> None:
    """The win rate, how it does without a preference for length, and by source."""
    own, other = systems["candidate"].texts, systems[contest.opponent].texts
    gaps = [len(a) - len(b) for a, b in zip(own, other, strict=True)]
    table.add(contest.metric, compare.win_rate(contest.values, bootstrap), "no pair got a verdict")
    if contest.metric in table.missing:
        return
    balanced = compare.length_balanced_win_rate(contest.values, gaps, bootstrap)
    why = "the candidate is longer (or shorter) on every prompt: length and quality cannot be told apart"
    table.add(contest.metric.replace("win_rate", "win_rate_length_balanced", 1), balanced, why)
    sources = [prompt.source for prompt in test.prompts]
    kinds = [_length_kind(gap, "candidate") for gap in gaps]
    table.add_slices(contest.metric, "source", compare.slices(contest.values, sources, bootstrap))
    table.add_slices(contest.metric, "length", compare.slices(contest.values, kinds, bootstrap))
    worst = compare.worst_group(contest.values, sources, bootstrap)
    table.add(f"{contest.metric}.group_min", worst.estimate if worst else None, _few_groups())


def measure_gain(
    table: Table,
    scorer: str,
    scores: Mapping[str, Sequence[float]],
    systems: Mapping[str, System],
    bootstrap: Bootstrap,
) -> None:
    """How far scores move (EVAL-05), and how much of that is not length (EVAL-27)."""
    own = scores["candidate"]
    lengths = {name: [len(text) for text in system.texts] for name, system in systems.items()}
    for opponent in (name for name in ("reference", "champion") if name in systems):
        name = f"{scorer}.vs_{opponent}"
        table.add(f"gain.{name}", compare.gain(own, scores[opponent], bootstrap), "the opponent's scores are all equal")
        share = compare.within_length_share(own, scores[opponent], lengths["candidate"], lengths[opponent])
        row = None if share is None else point(share, len(own))
        table.add(f"gain_within_length.{name}", row, "no gain, or lengths that do not overlap")


def length_correlation(rewards: Rewards, systems: Mapping[str, System], bootstrap: Bootstrap) -> Estimate | None:
    """Pearson correlation of reward and characters over all systems' answers; None without spread."""
    x = np.array([[len(text) for text in system.texts] for system in systems.values()], float)
    y = np.array([rewards.answers[name] for name in systems], float)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    x, y = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()

    def statistic(weights: np.ndarray) -> np.ndarray:
        total = weights.sum(axis=1) * len(systems)
        mx, my = (weights @ x.sum(axis=0)) / total, (weights @ y.sum(axis=0)) / total
        xx, yy, xy = ((weights @ (a * b).sum(axis=0)) / total for a, b in ((x, x), (y, y), (x, y)))
        return np.asarray((xy - mx * my) / np.sqrt((xx - mx**2) * (yy - my**2)))

    return bootstrap.statistic(statistic, x.shape[1])


def measure_kl(table: Table, systems: Mapping[str, System], defined: bool, bootstrap: Bootstrap) -> None:
    """KL to the reference on each system's own answers."""
    for name, system in systems.items():
        if name == "reference":
            continue
        if not defined:
            table.missing[f"kl.sequence_k1{_suffix(name)}"] = "defined for temperature > 0 and top_p 1 only"
        elif not system.reference_logps:
            table.missing[f"kl.sequence_k1{_suffix(name)}"] = "its vocabulary differs from the reference's"
        else:
            for metric, row in divergence.kl(system.own_logps, system.reference_logps, bootstrap).items():
                table.metrics[metric + _suffix(name)] = row


def measure_completions(table: Table, systems: Mapping[str, System], bootstrap: Bootstrap) -> None:
    """Lengths in tokens (EOS included), endings, variety (EVAL-23)."""
    reference = systems["reference"]
    for name, system in systems.items():
        end, tokens = _suffix(name), [answer.token_ids for answer in system.answers]
        table.metrics[f"length.mean{end}"] = bootstrap.mean(system.lengths)
        table.metrics[f"length.p95{end}"] = text_statistics.percentile_length(system.lengths, 0.95, bootstrap)
        if name != "reference":
            metric = f"length.ratio_to_reference{end}"
            same = system.vocabulary == reference.vocabulary
            row = bootstrap.ratio(system.lengths, reference.lengths) if same else None
            table.add(metric, row, "its vocabulary differs from the reference's")
            table.metrics[f"completions.identical_to_reference{end}"] = bootstrap.rate(
                [float(a == b) for a, b in zip(system.texts, reference.texts, strict=True)]
            )
        finished = [float(answer.finish == "eos") for answer in system.answers]
        table.metrics[f"completions.eos_rate{end}"] = bootstrap.rate(finished)
        table.metrics[f"completions.truncated_rate{end}"] = bootstrap.rate([1 - x for x in finished])
        empty = [float(not text.strip()) for text in system.texts]
        table.metrics[f"completions.empty_rate{end}"] = bootstrap.rate(empty)
        distinct = text_statistics.distinct(tokens, 2)
        table.add(f"completions.distinct_2{end}", distinct, "every answer is shorter than two tokens")
        table.add(f"completions.repetition{end}", text_statistics.repetition(tokens, bootstrap), "no answers")


def measure_judge(
    table: Table, test: TestSet, judged: Judged, systems: Mapping[str, System], bootstrap: Bootstrap
) -> None:
    """How far the judge can be trusted, over all pairs put to it (EVAL-03)."""
    keys = [prompt.key for prompt in test.prompts] * len(judged.results)
    asked = [(key, result) for key, result in zip(keys, judged.all, strict=True) if not result.identical]

    def rate(rows: Sequence[tuple[str, bool]]) -> Estimate | None:
        return bootstrap.rate([float(x) for _, x in rows], [key for key, _ in rows]) if rows else None

    both = [(key, r.consistent) for key, r in asked if r.consistent is not None]
    lean = [(key, r.favours_first) for key, r in asked if r.favours_first is not None]
    failed = [(key, not verdict.parse_ok) for key, r in asked for verdict in (r.first, r.second)]
    table.add("judge.position_consistency", rate(both), "no pair got two verdicts")
    table.add("judge.first_position_rate", rate(lean), "no inconsistent pair")
    table.add("judge.parse_failure_rate", rate(failed), "every pair was identical")
    longer = [
        (prompt.key, (result.outcome == "a") == (len(own) > len(other)))
        for opponent, results in judged.results.items()
        for prompt, own, other, result in zip(
            test.prompts, systems["candidate"].texts, systems[opponent].texts, results, strict=True
        )
        if _decided(result) and abs(len(own) - len(other)) > LONGER
    ]
    table.add("judge.prefers_longer", rate(longer), f"no decided pair differs by more than {LONGER} characters")


def _decided(result: PairResult) -> bool:
    return result.outcome in ("a", "b")
