"""Judge pairs of sampled completions in both orders and write what was decided as feedback records (SRC-11).

Lee et al. 2023, "RLAIF": position bias is cancelled by asking in both orders and averaging.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from components.contract import Inputs, Metrics, Outputs
from components.errors import ParamsError
from components.judges import Outcome, PairItem, PairResult, judge_both_orders, judge_stats, make_judge
from components.llm_feedback.params import Params
from components.records.feedback import write_feedback
from components.records.samples import pair_record, pair_up, read_origin, read_samples


def run(params: Params, inputs: Inputs, outputs: Outputs) -> Metrics:
    """Returns the judge's consistency, first-position rate and parse failures beside the counts."""
    samples = inputs["samples"]
    origin = read_origin(samples, "llm_feedback", params.license, outputs.identity)
    pairing = pair_up(read_samples(samples.path), params.pairs_per_prompt)
    judge = make_judge(params.judge, outputs.cache)
    items = [PairItem(pair.key, pair.a.messages, pair.a.completion, pair.b.completion) for pair in pairing.pairs]
    results = judge_both_orders(judge, items, "mean_p")
    outputs.execution.update(judge.execution())
    stats = judge_stats(results)
    if stats.n_asked and stats.n_excluded == stats.n_asked:
        raise ParamsError(_no_verdict_at_all(results))

    records, quarantine, counts = [], list(pairing.quarantine), Counter(n_undecided=0, n_dropped=0, n_ties=0)
    for pair, item, result in zip(pairing.pairs, items, results, strict=True):
        if result.p_a is None:
            reason = result.first.reason or result.second.reason
            quarantine.append(pair.quarantined("has_parsed_judgment", "judgments", f"no verdict: {reason}"))
            continue
        outcome, p_a = settle(result, params, counts)
        if outcome is None:
            continue
        judgments = _judgments(outcome, p_a, result, judge.annotator(item)["kind"])
        retries = result.first.n_retries + result.second.n_retries
        records.append(pair_record(pair, judgments, judge.annotator(item), origin, n_retries=retries))

    metrics = {**stats.as_metrics(), **pairing.counts(), **counts}
    served = list(stats.served_models)
    summary = write_feedback(outputs["feedback"], records, quarantine, judge=metrics, served_models=served)
    return {**metrics, "n_records": summary["n_records"], "n_quarantined": summary["n_quarantined"]}


def _no_verdict_at_all(results: list[PairResult]) -> str:
    """A judge that never gives a verdict is a wrong setting, not twenty bad pairs."""
    reasons = Counter(verdict.reason for result in results for verdict in (result.first, result.second))
    common = "; ".join(f"{reason}: {count}" for reason, count in reasons.most_common(3) if reason)
    return (
        f"llm_feedback.judge: not one of {len(results)} pairs got a verdict (got {common}). "
        "Raise judge.max_tokens, or use a model that follows the prompt."
    )


def settle(result: PairResult, params: Params, counts: Counter[str]) -> tuple[Outcome | None, float]:
    """The outcome and p_a to record, None for a pair that gives no record. Counts what it decides."""
    assert result.p_a is not None
    outcome, p_a = result.outcome, result.p_a
    if result.consistent is False or abs(p_a - 0.5) < params.delta:
        counts["n_undecided"] += 1
        if params.inconsistent == "drop":
            counts["n_dropped"] += 1
            return None, p_a
        outcome, p_a = "tie", 0.5
    counts["n_ties"] += outcome == "tie"
    return outcome, p_a


def _judgments(outcome: Outcome, p_a: float, result: PairResult, kind: str) -> list[dict[str, Any]]:
    """The comparison and, if it says the same, what the judge wrote while `a` was its answer A."""
    comparison = {"type": "pairwise", "a": "a", "b": "b", "outcome": outcome, "p_a": p_a, "shown_order": ["a", "b"]}
    if kind == "simulated" or result.first.outcome != outcome:
        return [comparison]
    return [comparison, {"type": "rationale", "of": 0, "text": result.first.text, "author": "judge"}]
