"""How far a judge can be trusted, measured on the pairs it judged. Always reported, never assumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.judges.orders import PairResult
from components.judges.reply import Reply


@dataclass(frozen=True)
class JudgeStats:
    """Counts over judged pairs. n_asked counts pairs put to the judge: two questions, two verdicts each."""

    n_pairs: int
    n_identical: int
    n_asked: int
    n_comparable: int
    n_consistent: int
    n_inconsistent_first: int
    n_null: int
    n_excluded: int
    n_ties: int
    n_retries: int
    prompt_tokens: int
    completion_tokens: int
    served_models: tuple[str, ...]

    @property
    def position_consistency(self) -> float | None:
        """P(both orders agree) over pairs with two verdicts; two ties agree. None if there are none."""
        return self.n_consistent / self.n_comparable if self.n_comparable else None

    @property
    def first_position_rate(self) -> float | None:
        """Among the inconsistent pairs, the share that leans to the completion shown first. 0.5 is unbiased."""
        inconsistent = self.n_comparable - self.n_consistent
        return self.n_inconsistent_first / inconsistent if inconsistent else None

    @property
    def parse_failure_rate(self) -> float | None:
        """Share of questions that got no verdict after all retries."""
        return self.n_null / (2 * self.n_asked) if self.n_asked else None

    def as_metrics(self) -> dict[str, Any]:
        """Flat metrics: the counts, and the rates with their Wilson intervals. A rate over nothing is left out.

        The two questions about a pair count as independent in the interval of parse_failure_rate.
        """
        counts = {name: value for name, value in self.__dict__.items() if isinstance(value, int)}
        n_inconsistent = self.n_comparable - self.n_consistent
        rates = {
            "position_consistency": (self.n_consistent, self.n_comparable),
            "first_position_rate": (self.n_inconsistent_first, n_inconsistent),
            "parse_failure_rate": (self.n_null, 2 * self.n_asked),
        }
        return counts | {name: _estimate(part, whole) for name, (part, whole) in rates.items() if whole}


def _estimate(part: int, whole: int) -> Any:
    from components.statistics import point, wilson  # here: parameters import this package, and must not wait for NumPy

    return point(part / whole, whole, *wilson(part, whole))


def judge_stats(results: Sequence[PairResult]) -> JudgeStats:
    """Counts over the results of `judge_both_orders`."""
    verdicts = [verdict for result in results if not result.identical for verdict in (result.first, result.second)]
    return JudgeStats(
        n_pairs=len(results),
        n_identical=sum(result.identical for result in results),
        n_asked=sum(not result.identical for result in results),
        n_comparable=sum(result.consistent is not None for result in results),
        n_consistent=sum(result.consistent is True for result in results),
        n_inconsistent_first=sum(result.favours_first is True for result in results),
        n_null=sum(not verdict.parse_ok for verdict in verdicts),
        n_excluded=sum(result.outcome is None for result in results),
        n_ties=sum(result.outcome == "tie" for result in results),
        n_retries=sum(verdict.n_retries for verdict in verdicts),
        prompt_tokens=sum(verdict.prompt_tokens for verdict in verdicts),
        completion_tokens=sum(verdict.completion_tokens for verdict in verdicts),
        served_models=tuple(sorted({verdict.served_model for verdict in verdicts} - {""})),
    )


def reply_stats(replies: Sequence[Reply[Any]]) -> dict[str, Any]:
    """Flat metrics of single questions, one reply each: what was asked, what could not be read, what it cost."""
    n_null = sum(not reply.parse_ok for reply in replies)
    counts = {
        "n_asked": len(replies),
        "n_null": n_null,
        "n_retries": sum(reply.n_retries for reply in replies),
        "prompt_tokens": sum(reply.prompt_tokens for reply in replies),
        "completion_tokens": sum(reply.completion_tokens for reply in replies),
    }
    return counts | ({"parse_failure_rate": _estimate(n_null, len(replies))} if replies else {})
