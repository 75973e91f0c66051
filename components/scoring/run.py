"""Ask one witness about answers, pairs of answers and comparisons, and write down what it says, line by line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from components.contract import Inputs, Metrics, Outputs
from components.errors import WiringError
from components.preference_models import Text, TextPair
from components.preference_models.model import PreferenceModel, load_preference_model
from components.records import Comparison, write_lines
from components.records.samples import Sample
from components.scoring.material import Material, read_material
from components.scoring.params import Params
from components.scoring.policy import PolicyWitness
from components.training.runtime import setup

Line = dict[str, Any]


def run(params: Params, inputs: Inputs, outputs: Outputs) -> Metrics:
    """Write scores.jsonl and summary.json; returns the counts. Raises WiringError unless there is one witness."""
    model, policy = inputs.get("model"), inputs.get("policy")
    if (model is None) == (policy is None):
        raise WiringError("scoring: there is one witness (got both, or none). Pass --in model, or --in policy.")
    material = read_material(inputs, params.split)
    setup(params.compute, seed=0)
    if model is not None:
        loaded = load_preference_model(model.path, params.compute, params.micro_batch_tokens)
        witness = {"kind": "preference_model", "name": loaded.kind.name, "id": model.id}
        lines = list(by_model(loaded, material))
    else:
        assert policy is not None
        witness = {"kind": "policy", "name": "policy", "id": policy.id}
        lines = list(by_policy(PolicyWitness(policy.path, params.compute, params.micro_batch_tokens), material))
    write_lines(outputs["scores"] / "scores.jsonl", lines)
    counts = _counts(lines, material)
    dataset = inputs.get("dataset")
    summary = {
        "witness": witness,
        "dataset": dataset.id if dataset else None,
        "split": params.split,
        "samples": [answers.id for answers in material.samples],
        "against": [answers.id for answers in material.against],
        "counts": counts,
    }
    (outputs["scores"] / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return counts


def by_model(model: PreferenceModel, material: Material) -> Iterator[Line]:
    """What a preference model says; every distinct text is read once."""
    model.read(material.texts())
    for answers in material.samples:
        scores = model.score([Text(sample.messages, sample.completion) for sample in answers.samples])
        for i, sample in enumerate(answers.samples):
            yield _sample(answers.id, sample, score=scores[i] if scores else None, logps=None)
    pairs = list(material.pairs())
    for pair, p in zip(pairs, model.compare([pair.texts for pair in pairs]), strict=True):
        yield {"of": "pair", "a": pair.a_id, "b": pair.b_id, "prompt_key": pair.a.prompt_key, "p": p}
    items = material.comparisons
    preferences = model.compare([TextPair(item.messages, item.chosen, item.rejected) for item in items])
    for index, (item, p) in enumerate(zip(items, preferences, strict=True)):
        texts = [Text(item.messages, item.chosen), Text(item.messages, item.rejected)]
        clean = all(reading.clean for reading in model.read(texts))
        chosen, rejected = model.score(texts) or (None, None)
        yield _comparison(index, item, p=p, scores=(chosen, rejected), tokens=(None, None), clean=clean)


def by_policy(policy: PolicyWitness, material: Material) -> Iterator[Line]:
    """What a policy says."""
    for answers in material.samples:
        logps = policy.answers(answers)
        for i, sample in enumerate(answers.samples):
            yield _sample(answers.id, sample, score=None, logps=logps[i] if logps else None)
    found = policy.comparisons(material.comparisons)
    for index, (item, (chosen, rejected)) in enumerate(zip(material.comparisons, found, strict=True)):
        scores, tokens = (chosen.logp, rejected.logp), (chosen.tokens, rejected.tokens)
        yield _comparison(index, item, p=None, scores=scores, tokens=tokens, clean=chosen.clean and rejected.clean)


def _sample(samples: str, sample: Sample, *, score: float | None, logps: list[float] | None) -> Line:
    place = {"samples": samples, "prompt_key": sample.prompt_key, "sample": sample.sample}
    return {"of": "sample", **place, "score": score, "logps": logps}


def _comparison(
    index: int,
    item: Comparison,
    *,
    p: float | None,
    scores: tuple[float | None, float | None],
    tokens: tuple[int | None, int | None],
    clean: bool,
) -> Line:
    return {
        "of": "comparison",
        "index": index,
        "record_id": item.record_id,
        "p": p,
        "chosen": scores[0],
        "rejected": scores[1],
        "chosen_tokens": tokens[0],
        "rejected_tokens": tokens[1],
        "clean": clean,
    }


def _counts(lines: list[Line], material: Material) -> dict[str, int]:
    """How much was said; `unanswered` samples are those of which this witness can say nothing."""
    samples, comparisons = ([line for line in lines if line["of"] == of] for of in ("sample", "comparison"))
    return {
        "samples": len(samples),
        "samples_unanswered": sum(line["score"] is None and line["logps"] is None for line in samples),
        "pairs": len(lines) - len(samples) - len(comparisons),
        "pairs_without_partner": material.without_partner(),
        "comparisons": len(comparisons),
        "comparisons_unclean": sum(not line["clean"] for line in comparisons),
        **{f"left_out/{reason}": n for reason, n in sorted(material.dropped.items())},
    }
