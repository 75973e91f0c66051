"""Judge sampled completions by a rule and write what it decides as feedback records."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any

from tqdm import tqdm

from components.contract import Inputs, Metrics, Outputs
from components.contract.table import Row
from components.errors import WiringError
from components.heuristic_feedback.params import Params
from components.heuristics import RULES, Found, Pool
from components.records.feedback import write_feedback
from components.records.samples import Pairing, Sample, by_prompt, pair_up, read_origin, read_samples, sample_record
from components.records.scores import SampleScores, read_sample_scores


def run(params: Params, inputs: Inputs, outputs: Outputs) -> Metrics:
    """Returns how much the rule decided, where it was silent, and where it contradicts itself."""
    row, rule, source = RULES[params.rule.name], RULES.bind(params.rule), inputs["samples"]
    origin, samples = read_origin(source), read_samples(source.path)
    scores = _scores(row, inputs)
    pairing = pair_up(samples, params.pairs_per_prompt)
    given = list(_given(row, samples, pairing, scores))
    found = [one for known in tqdm(given, desc=row.name, unit="prompt") for one in rule(**known)]
    provenance = {"source": f"heuristic_feedback/{row.name}", "license": params.license, "run_id": outputs.identity}
    records = [
        sample_record(
            {name: (sample, origin) for name, sample in one.samples.items()},
            one.judgments,
            _annotator(row, scores) | {"instructions_rev": one.instructions or row.ref},
            provenance,
        )
        for one in found
    ]
    counts, quarantine = _accounts(row, samples, pairing, found)
    summary = write_feedback(outputs["feedback"], records, quarantine, rule=counts)
    return {**counts, "n_records": summary["n_records"], "n_quarantined": summary["n_quarantined"]}


def _scores(row: Row, inputs: Inputs) -> SampleScores | None:
    """Raises WiringError if the rule needs scores and there are none, or the other way round."""
    given = inputs.get("scores")
    if given is None and "scores" in row.needs:
        raise WiringError(f"heuristic_feedback: rule {row.name} needs the input 'scores'. Pass --in scores=PATH.")
    if given is not None and "scores" not in row.needs:
        raise WiringError(f"heuristic_feedback --in scores: rule {row.name} reads no scores. Leave it out.")
    return read_sample_scores(given, inputs["samples"].id) if given is not None else None


def _annotator(row: Row, scores: SampleScores | None) -> dict[str, Any]:
    """Who judged: the rule itself, or the model whose scores it follows."""
    if scores is None:
        return {"id": row.name, "kind": "heuristic", "revision": str(row.revision)}
    return {"id": scores.witness["name"], "kind": "reward_model", "revision": scores.witness["id"]}


def _given(row: Row, samples: list[Sample], pairing: Pairing, scores: SampleScores | None) -> Iterator[dict[str, Any]]:
    """What the rule needs, prompt by prompt. A group holds no blank completion."""
    pool = Pool(samples)
    pairs = defaultdict(list)
    for pair in pairing.pairs:
        pairs[pair.a.prompt_key].append(pair)
    for key, everything in by_prompt(samples).items():
        group = [sample for sample in everything if sample.completion.strip()]
        known = {"group": group, "pairs": pairs[key], "pool": pool}
        if scores is not None:
            known["scores"] = scores.of(group)
        yield {name: known[name] for name in row.needs}


def _accounts(
    row: Row, samples: list[Sample], pairing: Pairing, found: list[Found]
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Counts and quarantine, in pairs for a rule that compares pairs, else in prompts and samples."""
    if "pairs" in row.needs:
        counts = {**pairing.counts(), "n_silent": len(pairing.pairs) - len(found)}
        return {**counts, "n_cyclic_prompts": cyclic_prompts(found)}, pairing.quarantine
    blank = [sample for sample in samples if not sample.completion.strip()]
    rows = [s.quarantined("candidate_not_empty", "completion", "the completion is blank") for s in blank]
    return {"n_prompts": pairing.n_prompts, "n_silent": pairing.n_prompts - len(found)}, rows


def cyclic_prompts(found: Iterable[Found]) -> int:
    """How many prompts have decisions that contradict each other in a circle (x over y, y over z, z over x)."""
    better: dict[str, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for one in found:
        for judgment in one.judgments:
            winner, loser = (one.samples[judgment[side]] for side in ("ab" if judgment["outcome"] == "a" else "ba"))
            better[winner.prompt_key][loser.sample].add(winner.sample)
    return Counter(map(_has_cycle, better.values()))[True]


def _has_cycle(better: dict[int, set[int]]) -> bool:
    try:
        TopologicalSorter(better).prepare()
    except CycleError:
        return True
    return False
