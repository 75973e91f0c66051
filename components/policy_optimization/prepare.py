"""Everything before the first step: examples read and checked, the reference scored, the policy compared with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.contract import Input, Inputs, Outputs
from components.errors import ArtifactError
from components.model_files.positions import row_limit
from components.policy_optimization import mismatched, reference
from components.policy_optimization.data import Example, Examples, read_examples
from components.policy_optimization.mismatched import Mismatch
from components.policy_optimization.objective import Objective
from components.policy_optimization.params import Params
from components.policy_optimization.scoring import Scorer, lengths
from components.training.loop import plan
from components.training.runtime import load_policy, load_tokenizer

TOLERANCE = {"fp32": 1e-4, "bf16": 2e-2}
"""Largest log-ratio per token of a policy that is its own reference (rounding of different batches)."""

PROBE = 16  # examples that the comparison with the reference looks at


@dataclass(frozen=True)
class Data:
    """Both splits, with the reference's log-probabilities among the given quantities where the objective needs them.

    `mismatches` are the (prompt, completion) rows of training whose reference log-probability is known,
    `validation_mismatched` [1, N] those of the rotated validation split.
    """

    train: list[Example]
    validation: list[Example]
    mismatches: dict[Mismatch, float]
    validation_mismatched: np.ndarray | None


def read(dataset: Path, tokenizer: Any, objective: Objective, params: Params, policy: Path) -> dict[str, Examples]:
    """Train and validation examples, no longer than `max_length` and the positions of the policy in `policy`.

    Raises ArtifactError if there is nothing to train on.
    """
    limit = row_limit(policy, params.max_length)
    splits = {
        split: read_examples(
            dataset / f"{split}.jsonl",
            tokenizer,
            family=objective.family,
            keep_ties=objective.keeps_ties,
            max_length=limit,
        )
        for split in ("train", "validation")
    }
    if not splits["train"].items:
        counts = ", ".join(f"{name} {n}" for name, n in sorted(splits["train"].counts.items()))
        raise ArtifactError(
            f"dataset: no {objective.family} example to train on (got {counts}). "
            "Choose an objective for the feedback that is there, or curate other feedback."
        )
    return splits


def is_own_reference(inputs: Inputs) -> bool:
    """The reference is the policy training starts from."""
    given = inputs.get("reference")
    return given is None or given.id == inputs["policy"].id


def with_reference(
    params: Params,
    inputs: Inputs,
    outputs: Outputs,
    objective: Objective,
    scorer: Scorer,
    model: Any,
    tokenizer: Any,
    splits: Mapping[str, Examples],
) -> Data:
    """Score what the objective needs under the reference (the policy itself, or a model loaded for it and let go)."""
    train, validation = splits["train"].items, splits["validation"].items
    if not objective.needs_reference:
        reference.write(outputs["reference_logprobs"], {"reference": "the objective needs none"}, {})
        return Data(train, validation, {}, None)
    pairs = _mismatches(params, objective, train)
    sections = _sections(train, validation, pairs)
    source = inputs["policy"] if is_own_reference(inputs) else inputs["reference"]
    key = reference.cache_key(
        reference=source.id,
        dataset=inputs["dataset"].id,
        tokenizer=tokenizer,
        max_length=params.max_length,
        scorer=scorer,
        compute=params.compute,
        sections=sections,
    )

    def load() -> Any:
        if is_own_reference(inputs):
            return model
        model.to("cpu")  # a device must hold one of the two only
        return _load_reference(source, tokenizer, params)

    found = reference.logprobs(load, scorer, sections, key, outputs.cache)
    model.to(scorer.device)
    reference.write(outputs["reference_logprobs"], key, found)
    names = [f"{side}_ref_logps" for side in objective.sides]
    return Data(
        train=_with_given(train, names, found["train"]),
        validation=_with_given(validation, names, found["validation"]) if validation else [],
        mismatches=dict(zip(pairs, map(float, found["train_mismatched"][0]), strict=True)) if pairs else {},
        validation_mismatched=found.get("validation_mismatched"),
    )


def _sections(train: list[Example], validation: list[Example], pairs: list[Mismatch]) -> dict[str, list[Example]]:
    """What the reference scores; mismatched completions only where the objective asks for them."""
    sections = {"train": train, "validation": validation}
    if pairs:
        sections["train_mismatched"] = mismatched.examples(pairs, train)
    if pairs and len(validation) > 1:
        sections["validation_mismatched"] = mismatched.examples(mismatched.rotation(range(len(validation))), validation)
    return sections


def _mismatches(params: Params, objective: Objective, train: list[Example]) -> list[Mismatch]:
    """Every mismatched row that training will meet: the batches are known in advance."""
    if not objective.needs_mismatched:
        return []
    batches = plan(lengths(train), params.optimization, params.seed)
    return list(dict.fromkeys(pair for rows in batches for pair in mismatched.rotation(rows)))


def _with_given(examples: list[Example], names: list[str], values: np.ndarray) -> list[Example]:
    """`values` [K, N]: one number per name and example."""
    return [
        example.with_given(dict(zip(names, map(float, column), strict=True)))
        for example, column in zip(examples, values.T, strict=True)
    ]


def _load_reference(source: Input, tokenizer: Any, params: Params) -> Any:
    if load_tokenizer(source.path).get_vocab() != tokenizer.get_vocab():
        raise ArtifactError(
            f"reference {source.path}: its tokenizer is not the policy's (got another vocabulary). "
            "Log-probabilities of the same token ids would not be comparable: use a reference of the same family."
        )
    return load_policy(source.path, params.compute)[0]


def check_step_zero(scorer: Scorer, model: Any, examples: list[Example], objective: Objective) -> None:
    """A policy that is its own reference must have log-ratio 0 before the first step. Raises ArtifactError if not."""
    probe = examples[:PROBE]
    policy = scorer.sums(model, probe)
    known = np.array([[example.given[f"{side}_ref_logps"] for example in probe] for side in objective.sides])
    lengths = np.array([[len(ids) for ids in example.completions] for example in probe]).T
    gap, limit = float((np.abs(policy - known) / lengths).max()), TOLERANCE[scorer.precision]
    if not gap <= limit:
        raise ArtifactError(
            "step 0: the policy is its own reference, yet their log-probabilities differ "
            f"(got {gap:.1e} nats per token, at most {limit:.0e}). Likely causes: reference log-probabilities of "
            "another model or template in the cache (delete it), active dropout, or another precision."
        )
