"""Pairs, within one set of samples or across two, each asked about in both orders."""

from __future__ import annotations

from typing import Any

from components.contract import Inputs
from components.judges import Judge, Outcome, PairItem, PairResult, judge_both_orders, judge_stats
from components.llm_feedback.asked import Asked, Case
from components.llm_feedback.params import Params
from components.records.samples import SamplePair, pair_across, pair_up, read_origin, read_samples


def ask_pairs(judge: Judge[PairItem, Outcome], params: Params, inputs: Inputs) -> Asked:
    """Identical completions are a tie without a question, and give no record."""
    ours, against = inputs["samples"], inputs.get("against")
    theirs = against or ours
    origins = read_origin(ours), read_origin(theirs)
    samples = read_samples(ours.path)
    if against:
        pairing = pair_across(samples, read_samples(against.path), "llm_feedback --in against")
    else:
        pairing = pair_up(samples, params.pairs_per_prompt)
    items = [PairItem(pair.key, pair.a.messages, pair.a.completion, pair.b.completion) for pair in pairing.forward]
    results = judge_both_orders(judge, items, "mean_p")
    cases = [
        Case(
            pair,
            {"a": (pair.a, origins[0]), "b": (pair.b, origins[1])},
            item,
            {"result": result},
            (result.first, result.second),
        )
        for pair, item, result in zip(pairing.forward, items, results, strict=True)
        if not result.identical
    ]
    verdicts = [_row(pair, result, ours.id, theirs.id) for pair, result in zip(pairing.forward, results, strict=True)]
    stats = judge_stats(results).as_metrics()
    return Asked(cases, pairing.quarantine, {**stats, **pairing.counts()}, stats, verdicts)


def _row(pair: SamplePair, result: PairResult, ours: str, theirs: str) -> dict[str, Any]:
    """A line of verdicts.jsonl. `first` is the verdict with a shown first, `second` the one with b shown first."""
    first, second = result.first, result.second
    return {
        "prompt_key": pair.a.prompt_key,
        "a": {"samples": ours, "sample": pair.a.sample},
        "b": {"samples": theirs, "sample": pair.b.sample},
        "identical": result.identical,
        "first": first.outcome,
        "second": second.outcome,
        "reason_first": first.reason,
        "reason_second": second.reason,
        "text_first": first.text,
        "text_second": second.text,
        "n_retries": first.n_retries + second.n_retries,
        "served_models": sorted({first.served_model, second.served_model} - {""}),
    }
