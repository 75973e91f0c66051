"""Compare sampled completions by a rule and write what it decides as feedback records."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter

from tqdm import tqdm

from components.contract import Inputs, Metrics, Outputs
from components.heuristic_feedback.params import Params
from components.heuristic_feedback.rules import RULES, decide, thresholds
from components.records.feedback import write_feedback
from components.records.samples import SamplePair, pair_record, pair_up, read_origin, read_samples


def run(params: Params, inputs: Inputs, outputs: Outputs) -> Metrics:
    """Returns how many pairs the rule decided, on how many it was silent, and where it contradicts itself."""
    rule, source = RULES[params.rule], inputs["samples"]
    origin = read_origin(source, f"heuristic_feedback/{params.rule}", params.license, outputs.identity)
    samples = read_samples(source.path)
    factors = {sample.line: rule.factors(sample) for sample in tqdm(samples, desc=params.rule, unit="sample")}
    limits = thresholds(list(factors.values()), params.threshold)
    annotator = {
        "id": params.rule,
        "kind": "heuristic",
        "revision": rule.revision,
        "instructions_rev": f"thresholds={list(limits)}",
    }
    pairing = pair_up(samples, params.pairs_per_prompt)
    records, decided = [], []
    for pair in pairing.pairs:
        outcome = decide(factors[pair.a.line], factors[pair.b.line], limits)
        if outcome:
            decided.append((pair, outcome))
            judgment = {"type": "pairwise", "a": "a", "b": "b", "outcome": outcome}
            records.append(pair_record(pair, [judgment], annotator, origin))
    counts = {
        **pairing.counts(),
        "n_silent": len(pairing.pairs) - len(decided),
        "n_cyclic_prompts": cyclic_prompts(decided),
    }
    summary = write_feedback(outputs["feedback"], records, pairing.quarantine, rule=counts)
    return {**counts, "n_records": summary["n_records"], "n_quarantined": summary["n_quarantined"]}


def cyclic_prompts(decided: Iterable[tuple[SamplePair, str]]) -> int:
    """How many prompts have decisions that contradict each other in a circle (x over y, y over z, z over x)."""
    better: dict[str, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for pair, outcome in decided:
        winner, loser = (pair.a, pair.b) if outcome == "a" else (pair.b, pair.a)
        better[pair.a.prompt_key][loser.sample].add(winner.sample)
    return Counter(map(_has_cycle, better.values()))[True]


def _has_cycle(better: dict[int, set[int]]) -> bool:
    try:
        TopologicalSorter(better).prepare()
    except CycleError:
        return True
    return False
