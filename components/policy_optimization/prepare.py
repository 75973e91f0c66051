"""Everything before the first step: examples read and checked, the reference made, the policy compared with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from components.contract import Input, Inputs, Outputs
from components.errors import ArtifactError, ParamsError
from components.model_files.positions import row_limit
from components.objectives import Objective, Quantity
from components.policy_optimization.params import Params
from components.sequences import Example, Examples, read_examples
from components.sequences.read import keeps_ties
from components.training import precomputed
from components.training.batch_statistics import BatchStatistics
from components.training.loop import plan
from components.training.references import Setting, as_values
from components.training.runtime import load_policy, load_tokenizer
from components.training.scorer import Reference, Scorer, lengths
from components.training.tables import REFERENCES

TOLERANCE = {"fp32": 1e-4, "bf16": 2e-2}
"""Largest log-ratio per token of a policy that is its own reference (rounding of different batches)."""

PROBE = 16  # examples that the comparison with the reference looks at


@dataclass(frozen=True)
class Work:
    """One optimization: what it learns from and how its examples are computed. The model is not part of it."""

    params: Params
    inputs: Inputs
    outputs: Outputs
    tokenizer: Any
    objective: Objective
    statistics: BatchStatistics
    splits: Mapping[str, Examples]
    scorer: Scorer

    @property
    def train(self) -> list[Example]:
        return self.splits["train"].items

    @property
    def validation(self) -> list[Example]:
        return self.splits["validation"].items

    @property
    def compared(self) -> tuple[Quantity, ...]:
        """What is asked of the reference or against it."""
        return tuple(need for need in (*self.objective.needs, *self.statistics.needs) if "ref" in need.models)

    @property
    def validates(self) -> bool:
        """There is a validation split, large enough for the statistics of a batch."""
        return len(self.validation) > (1 if self.statistics else 0)

    @property
    def own_reference(self) -> bool:
        """The reference is the policy that training starts from."""
        given = self.inputs.get("reference")
        return given is None or given.id == self.inputs["policy"].id


def read(params: Params, inputs: Inputs, tokenizer: Any, objective: Objective) -> dict[str, Examples]:
    """Train and validation examples, no longer than `max_length` and the positions of the policy.

    Raises ArtifactError if there is nothing to train on.
    """
    limit = row_limit(inputs["policy"].path, params.max_length)
    names = tuple(need.name for need in objective.needs)
    splits = {
        split: read_examples(
            inputs["dataset"].path / f"{split}.jsonl",
            tokenizer,
            view=objective.view,
            keep_ties=keeps_ties(objective.view, names),
            max_length=limit,
        )
        for split in ("train", "validation")
    }
    if not splits["train"].items:
        counts = ", ".join(f"{name} {n}" for name, n in sorted(splits["train"].dropped.items()))
        raise ArtifactError(
            f"dataset: no example of the view {objective.view} to train on (got {counts or 'no record'}). "
            "Choose an objective for the feedback that is there, or curate other feedback."
        )
    return splits


def references(work: Work, model: Any) -> dict[str, Reference]:
    """The reference that the objective compares with, by the name of its source; nothing if it needs none.

    Raises ParamsError for an objective that needs a policy before this one, which no input gives.
    """
    if prev := [need.name for need in work.objective.needs if "prev" in need.models]:
        raise ParamsError(
            f"objective.name: {work.objective.name} needs the policy before (got no input for {prev[0]}). "
            "Choose another objective."
        )
    if not work.compared:
        precomputed.write(work.outputs["reference_logprobs"], {"reference": "the objective needs none"}, {})
        return {}
    setting = Setting(
        needs=work.compared,
        policy=model,
        load=None if work.own_reference else lambda: _load_reference(work.inputs["reference"], work),
        once=lambda: _once(work, model),
        adapters=work.params.lora.rank > 0,
        precision=work.scorer.precision,
    )
    found = REFERENCES.bind(work.params.reference)(setting)
    if not (work.outputs["reference_logprobs"] / "manifest.json").exists():
        key = {"reference": f"run beside the policy: {work.params.reference.name}"}
        precomputed.write(work.outputs["reference_logprobs"], key, {})
    return {"ref": found}


def _once(work: Work, model: Any) -> Mapping[bytes, float]:
    """Log-probabilities of everything that will be scored, under the reference; written as an artifact."""
    source = work.inputs["policy"] if work.own_reference else work.inputs["reference"]
    sections = _sections(work)
    key = precomputed.cache_key(
        reference=source.id,
        dataset=work.inputs["dataset"].id,
        tokenizer=work.tokenizer,
        max_length=work.params.max_length,
        scorer=work.scorer,
        compute=work.params.compute,
        sections=sections,
    )

    def load() -> Any:
        if work.own_reference:
            return model
        model.to("cpu")  # a device must hold one of the two only
        return _load_reference(source, work)

    found = precomputed.logprobs(load, work.scorer, sections, key, work.outputs.cache)
    model.to(work.scorer.device)
    precomputed.write(work.outputs["reference_logprobs"], key, found)
    return as_values(sections, found)


def _sections(work: Work) -> dict[str, list[Example]]:
    """What the reference scores: both splits, and what statistics will measure beside each batch (all are known)."""
    own = {"train": work.train, "validation": work.validation}
    if not work.statistics:
        return own
    planned = {"train": list(plan(lengths(work.train), work.params.optimization, work.params.seed))}
    if work.validates:
        planned["validation"] = [list(range(len(work.validation)))]
    beside: dict[str, dict[tuple[bytes, ...], Example]] = {}
    for split, batches in planned.items():
        items = work.splits[split].items
        for rows in batches:
            for name, examples in work.statistics.also_scored([items[row] for row in rows]).items():
                known = beside.setdefault(f"{split}_{name}", {})
                known |= {tuple(one.key for one in example.sequences): example for example in examples}
    once = {name: list(examples.values()) for name, examples in beside.items()}
    return {**own, **once}


def _load_reference(source: Input, work: Work) -> Any:
    if load_tokenizer(source.path).get_vocab() != work.tokenizer.get_vocab():
        raise ArtifactError(
            f"reference {source.path}: its tokenizer is not the policy's (got another vocabulary). "
            "Log-probabilities of the same token ids would not be comparable: use a reference of the same family."
        )
    return load_policy(source.path, work.params.compute)[0]


def check_step_zero(work: Work, model: Any, reference: Reference) -> None:
    """A policy that is its own reference must have log-ratio 0 before the first step. Raises ArtifactError if not."""
    scorer, asked = work.scorer, frozenset(["logps"])

    def gaps(some: list[Example]) -> dict[str, Tensor]:
        """The largest gap per token among these examples, in nats."""
        at = scorer.layout(some)
        ours = scorer.measure(model, at, asked, None)["logps"]
        theirs = reference.measures(at, asked, model)["logps"]
        return {"gap": ((ours - theirs).abs() / at.batch.lengths.clamp(min=1)).max().expand(len(some))}

    gap, limit = float(scorer.collect(work.train[:PROBE], gaps)["gap"].max()), TOLERANCE[scorer.precision]
    if not gap <= limit:
        raise ArtifactError(
            "step 0: the policy is its own reference, yet their log-probabilities differ "
            f"(got {gap:.1e} nats per token, at most {limit:.0e}). Likely causes: reference log-probabilities of "
            "another model or template in the cache (delete it), active dropout, or another precision."
        )
