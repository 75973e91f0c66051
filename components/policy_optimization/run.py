"""Optimize a policy: read the feedback, score the reference once, train, save, check what was saved, validate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from components.contract import Inputs, Metrics, Outputs
from components.errors import ArtifactError
from components.policy_optimization import mismatched, prepare
from components.policy_optimization.data import Example, Examples
from components.policy_optimization.metrics import batch_means, estimates
from components.policy_optimization.objective import KL, Objective, resolve
from components.policy_optimization.params import Params
from components.policy_optimization.prepare import Data
from components.policy_optimization.scoring import Scorer, lengths, share_prompts
from components.training import distributed, scoring_check, throughput
from components.training.loop import Task, Trained, train, write_log
from components.training.lora import add_adapters, merge_adapters
from components.training.lora_targets import check_targets
from components.training.runtime import device_of, load_policy, save_policy, setup


def run(params: Params, inputs: Inputs, outputs: Outputs) -> Metrics:
    device = setup(params.compute, params.seed)
    distributed.start(device)
    distributed.check_same(outputs.identity, device)
    objective = resolve(params.objective)
    model, tokenizer = load_policy(inputs["policy"].path, params.compute)
    check_targets(model, params.lora, "policy_optimization.lora.targets")
    splits = prepare.read(inputs["dataset"].path, tokenizer, objective, params, inputs["policy"].path)
    shared = distributed.everywhere(share_prompts(params.shared_prompts, model, splits["train"].items), device)
    scorer = Scorer(shared, device, params.compute.precision, params.optimization.micro_batch_tokens)
    data = prepare.with_reference(params, inputs, outputs, objective, scorer, model, tokenizer, splits)
    model = add_adapters(model, params.lora, params.seed)
    if objective.needs_reference and prepare.is_own_reference(inputs):
        prepare.check_step_zero(scorer, model, data.train, objective)
    trained = train(
        model,
        task(objective, scorer, data),
        optimization=params.optimization,
        compute=params.compute,
        seed=params.seed,
        identity=outputs.identity,
        workdir=outputs.workdir,
        title=params.objective.name,
    )
    outputs.execution.update(_execution(params, model, scorer, trained, data.train))
    model = merge_adapters(model)
    if distributed.is_main():
        _save(model, tokenizer, trained, data, params, outputs["policy"])
    return {
        **_counts(splits["train"], data, trained),
        "train/steps": trained.steps,
        "train/loss": trained.log[-1]["loss"],
        "train/shared_prompts": scorer.shared,
        **dict(_validate(model, objective, scorer, data)),
    }


def task(objective: Objective, scorer: Scorer, data: Data) -> Task:
    """What the loop needs to know about this objective and these examples."""
    items = data.train

    def constants(model: Any, rows: list[int]) -> dict[str, float]:
        pairs = mismatched.rotation(rows)
        policy = scorer.sums(model, mismatched.examples(pairs, items))
        return {KL: mismatched.reference_point(policy, np.array([[data.mismatches[pair] for pair in pairs]]))}

    return Task(
        examples=items,
        lengths=lengths(items),
        forward=lambda model, batch: scorer.quantities(model, batch, objective.sides),
        loss=objective.losses,
        weights=[example.weight for example in items],
        constants=constants if objective.needs_mismatched else None,
        metrics=lambda values: batch_means(values, objective),
    )


def _execution(params: Params, model: Any, scorer: Scorer, trained: Trained, items: list[Example]) -> dict[str, float]:
    """Rates of the training loop, from the mean size of an example."""
    rows = trained.seconds_rows
    tokens = rows * scorer.tokens(items) // len(items)
    completion_tokens = rows * sum(len(ids) for example in items for ids in example.completions) // len(items)
    flops = throughput.training_flops(model, tokens, completion_tokens)
    return throughput.report(
        params.compute, scorer.device, rows=rows, tokens=tokens, flops=flops, seconds=trained.seconds
    )


def _save(model: Any, tokenizer: Any, trained: Trained, data: Data, params: Params, folder: Path) -> None:
    """Write the policy, load it again, and record what the loaded one computes.

    Raises ArtifactError if the saved model is not the trained one.
    """
    save_policy(model, tokenizer, folder)
    write_log(trained.log, folder / "training_log.jsonl")
    rows = [example.rows()[0] for example in data.validation or data.train]
    model.to("cpu")  # a device must hold one of the two only
    reloaded, _ = load_policy(folder, params.compute)
    scoring_check.write(folder, reloaded, rows, params.compute)
    del reloaded
    model.to(device_of(params.compute))
    if gap := scoring_check.largest_gap(folder, model, params.compute):
        raise ArtifactError(f"policy: what was saved is not what was trained (got a gap of {gap:.1e} nats). Rerun.")


def _counts(split: Examples, data: Data, trained: Trained) -> dict[str, int]:
    """What training saw and what was dropped, by reason."""
    counts = {"data/empty": 0, "data/ties": 0, "data/identical": 0, **split.counts, "data/nonfinite": trained.dropped}
    if "desirable" in data.train[0].given:
        counts["data/desirable"] = sum(example.given["desirable"] == 1 for example in data.train)
        counts["data/undesirable"] = len(data.train) - counts["data/desirable"]
    return dict(sorted(counts.items()))


def _validate(policy: Any, objective: Objective, scorer: Scorer, data: Data) -> Iterator[tuple[str, Any]]:
    """Loss and metrics on the validation split; nothing if it is empty (or too small to mismatch)."""
    items = data.validation
    if not items or (objective.needs_mismatched and data.validation_mismatched is None):
        return
    sums = scorer.sums(policy, items, title="validation")
    values = {f"{side}_logps": sums[k].astype(np.float64) for k, side in enumerate(objective.sides)}
    for k, side in enumerate(objective.sides):
        values[f"{side}_lengths"] = np.array([float(len(example.completions[k])) for example in items])
    values |= {name: np.array([example.given[name] for example in items]) for name in items[0].given}
    if data.validation_mismatched is not None:
        rows = mismatched.examples(mismatched.rotation(range(len(items))), items)
        point = mismatched.reference_point(scorer.sums(policy, rows), data.validation_mismatched)
        values[KL] = np.full(len(items), point)
    quantities = {name: torch.tensor(array, dtype=torch.float32) for name, array in values.items()}
    values["loss"] = objective.losses(quantities).double().numpy()
    yield from estimates(values, objective, [example.cluster for example in items], "validation").items()
