"""What answers look like, apart from how good they are: distance, length, ending, variety (EVAL-21, EVAL-23)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

from components.measures.evidence import Answers, NotMeasured
from components.measures.table import MEASURES
from components.statistics import Bootstrap, Estimate, point

Ratios = Sequence[Sequence[float]]
"""Per answer, log pi - log ref of its tokens; both are of the distribution that was sampled from."""


@MEASURES.row(
    method=("EVAL-21", "EVAL-23"),
    source="Schulman 2020, Approximating KL divergence",
    metric="kl.sequence_k1.{system}",
    label="KL to the reference, nats per answer (k1)",
    format="number",
    section="behaviour",
    headline=(60, "KL to base (nats per answer)"),
    card="KL to the reference",
    unit="nats per answer",
)
def kl_sequence_k1(log_ratios: Ratios, bootstrap: Bootstrap) -> Estimate:
    """KL(policy || reference) on the policy's own answers: mean over answers of the summed log-ratio."""
    return bootstrap.mean([float(np.sum(ratios)) for ratios in log_ratios])


def _per_token(sums: Sequence[float], log_ratios: Ratios, bootstrap: Bootstrap) -> Estimate:
    return bootstrap.ratio(sums, [float(len(ratios)) for ratios in log_ratios])


@MEASURES.row(
    method="EVAL-21",
    metric="kl.token_k1.{system}",
    label="KL per token (k1)",
    format="number",
    section="behaviour",
    beside=("kl_sequence_k1", "{value} per token"),
)
def kl_token_k1(log_ratios: Ratios, bootstrap: Bootstrap) -> Estimate:
    """The same per token: sum of the log-ratios of all tokens / number of tokens."""
    return _per_token([float(np.sum(ratios)) for ratios in log_ratios], log_ratios, bootstrap)


@MEASURES.row(
    method="EVAL-21",
    source="Schulman 2020, Approximating KL divergence",
    metric="kl.token_k3.{system}",
    label="KL per token (k3)",
    format="number",
    section="behaviour",
)
def kl_token_k3(log_ratios: Ratios, bootstrap: Bootstrap) -> Estimate:
    """Mean over tokens of exp(-d) - 1 + d with d the log-ratio of the token; never negative."""
    gaps = [np.asarray(ratios, float) for ratios in log_ratios]
    return _per_token([float((np.expm1(-gap) + gap).sum()) for gap in gaps], log_ratios, bootstrap)


@MEASURES.row(
    method="EVAL-23",
    metric="length.mean.{system}",
    label="mean length, tokens",
    format="number",
    section="behaviour",
    card="Answer length",
    unit="tokens on average",
)
def length_mean(answers: Answers, bootstrap: Bootstrap) -> Estimate:
    """Mean length of the answers in tokens, EOS included."""
    return bootstrap.mean(answers.lengths)


@MEASURES.row(
    method="EVAL-23",
    metric="length.p95.{system}",
    label="95th percentile of length",
    format="number",
    section="behaviour",
)
def length_p95(answers: Answers, bootstrap: Bootstrap) -> Estimate:
    """The smallest length that at least 95 % of the answers do not exceed."""
    return percentile_length(answers.lengths, 0.95, bootstrap)


def percentile_length(tokens: Sequence[int], q: float, bootstrap: Bootstrap) -> Estimate:
    """The smallest length that at least the share `q` of the answers does not exceed."""
    lengths = np.asarray(tokens, float)
    order, by_length = np.sort(lengths), np.argsort(lengths, kind="stable")

    def statistic(weights: np.ndarray) -> np.ndarray:
        reached = np.cumsum(weights[:, by_length], axis=1) >= q * weights.sum(axis=1, keepdims=True) - 1e-9
        return np.asarray(order[reached.argmax(axis=1)])

    return bootstrap.statistic(statistic, len(lengths))


@MEASURES.row(
    method="EVAL-23",
    metric="length.ratio_to_reference.{system}",
    label="length relative to the reference",
    format="number",
    section="behaviour",
    headline=(70, "length, as a ratio to base"),
    beside=("length_mean", "{value} times the reference's"),
    warn=(0.77, 1.3, "The {system}'s answers are {value} times as long as the reference's."),
)
def length_ratio(answers: Answers, reference: Answers, bootstrap: Bootstrap) -> Estimate:
    """Tokens of all answers / tokens of all the reference's answers; of one vocabulary only."""
    if not answers.vocabulary or not reference.vocabulary:
        raise NotMeasured("the answers do not say their policies' vocabulary")
    if answers.vocabulary != reference.vocabulary:
        raise NotMeasured("its vocabulary differs from the reference's")
    return bootstrap.ratio(answers.lengths, reference.lengths)


@MEASURES.row(
    method="EVAL-23",
    metric="completions.eos_rate.{system}",
    label="answers that end by themselves",
    format="percent",
    section="behaviour",
)
def eos_rate(answers: Answers, bootstrap: Bootstrap) -> Estimate:
    """Share of the answers that end with an end-of-sequence token."""
    return bootstrap.rate([float(sample.finish == "eos") for sample in answers.samples])


@MEASURES.row(
    method="EVAL-23",
    metric="completions.truncated_rate.{system}",
    label="answers cut at the limit",
    format="percent",
    section="behaviour",
    beside=("length_mean", "{value} cut at the limit"),
    warn=(None, 0.1, "{value} of the {system}'s answers were cut at the length limit."),
)
def truncated_rate(answers: Answers, bootstrap: Bootstrap) -> Estimate:
    """Share of the answers that reached the token limit without an end."""
    return bootstrap.rate([float(sample.finish != "eos") for sample in answers.samples])


@MEASURES.row(
    method="EVAL-23",
    metric="completions.empty_rate.{system}",
    label="empty answers",
    format="percent",
    section="behaviour",
    warn=(None, 0.0, "{value} of the {system}'s answers are empty."),
)
def empty_rate(answers: Answers, bootstrap: Bootstrap) -> Estimate:
    """Share of the answers without any text."""
    return bootstrap.rate([float(not text.strip()) for text in answers.texts])


def ngrams(tokens: Sequence[Hashable], n: int) -> list[tuple[Hashable, ...]]:
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


@MEASURES.row(
    method="EVAL-23",
    source="Li et al. 2016, A Diversity-Promoting Objective Function, section 5",
    metric="completions.distinct_2.{system}",
    label="distinct bigrams over all answers",
    format="percent",
    section="behaviour",
)
def distinct_bigrams(answers: Answers) -> Estimate:
    """Distinct bigrams of tokens / bigrams over all answers.

    Interval: jackknife over answers (resampling would repeat answers, and so call any text repetitive).
    """
    return distinct([sample.token_ids for sample in answers.samples], 2)


def distinct(texts: Sequence[Sequence[Hashable]], n: int) -> Estimate:
    """Distinct n-grams / n-grams over all texts. Raises NotMeasured if no text has one."""
    counts = [Counter(ngrams(text, n)) for text in texts]
    total: Counter[tuple[Hashable, ...]] = sum(counts, Counter())
    size, kinds = sum(total.values()), len(total)
    if not size:
        raise NotMeasured(f"every answer is shorter than {n} tokens")
    without = []
    for own in counts:
        left = size - sum(own.values())
        gone = sum(total[gram] == count for gram, count in own.items())
        if left:
            without.append((kinds - gone) / left)
    value, m = kinds / size, len(without)
    if m < 2:
        return point(value, len(texts))
    error = np.sqrt((m - 1) / m * np.sum((np.array(without) - np.mean(without)) ** 2))
    return point(value, len(texts), float(max(0.0, value - 1.96 * error)), float(min(1.0, value + 1.96 * error)))


@MEASURES.row(
    method="EVAL-23",
    metric="completions.repetition.{system}",
    label="repeated trigrams within an answer",
    format="percent",
    section="behaviour",
)
def repetition(answers: Answers, bootstrap: Bootstrap) -> Estimate:
    """Mean over answers of 1 - distinct trigrams / trigrams of tokens within it; shorter answers repeat nothing."""
    grams = [ngrams(sample.token_ids, 3) for sample in answers.samples]
    return bootstrap.mean([1 - len(set(g)) / len(g) if g else 0.0 for g in grams])


@MEASURES.row(
    method="EVAL-23",
    metric="completions.identical_to_reference.{system}",
    label="answers identical to the reference's",
    format="percent",
    section="behaviour",
)
def identical_to_reference(answers: Answers, reference: Answers, bootstrap: Bootstrap) -> Estimate:
    """Share of the prompts on which both give the same text."""
    return bootstrap.rate([float(a == b) for a, b in zip(answers.texts, reference.texts, strict=True)])
