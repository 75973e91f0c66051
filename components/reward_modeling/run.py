"""Fit a preference model on the comparisons of a curated data set, measure it, and write it down."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from components.contract import Choice, Inputs, Metrics, Outputs, dump
from components.errors import ArtifactError
from components.model_files.positions import row_limit
from components.objectives import bind, needs
from components.preference_models import is_scored
from components.preference_models.model import write_card
from components.preference_models.network import new_network, save_network
from components.preference_models.pairs import pair_readings, read_pairs
from components.preference_models.readings import pair_logits
from components.reward_modeling.params import Params
from components.reward_modeling.report import Preferences, quality, reward_moments, training_metrics
from components.sequences import Example, Examples, read_examples
from components.sequences.read import keeps_ties
from components.training import distributed, throughput
from components.training.loop import Task, Trained, train, write_log
from components.training.lora import add_adapters, merge_adapters
from components.training.lora_targets import check_targets
from components.training.runtime import setup

MOMENTS = 1000  # training comparisons whose rewards give the mean and deviation on the card


def run(params: Params, inputs: Inputs, outputs: Outputs) -> Metrics:
    """Write the preference_model artifact; returns its metrics."""
    device = setup(params.compute, params.seed)
    model, tokenizer = new_network(inputs["base"].path, params.kind, params.compute, seed=params.seed)
    check_targets(model, params.lora, "reward_modeling.lora.targets")
    splits = _read(params, inputs, tokenizer)
    model = add_adapters(model, params.lora, params.seed, task="SEQ_CLS")
    trained = train(
        model,
        task(params, splits["train"].items, device),
        optimization=params.optimization,
        compute=params.compute,
        seed=params.seed,
        identity=outputs.identity,
        workdir=outputs.workdir,
        title="reward_modeling",
    )
    if not distributed.is_main():
        return {}
    model = merge_adapters(model)
    save_network(model, tokenizer, outputs["model"])
    write_log(trained.log, outputs["model"] / "training_log.jsonl")
    metrics = _measure(model, splits, params, device) | {"train/steps": trained.steps, "train/rows": trained.rows}
    metrics["train/loss_not_finite"] = trained.dropped
    _write_card(params, inputs, outputs, metrics)
    outputs.execution |= _execution(params, model, trained, device)
    return metrics


def _read(params: Params, inputs: Inputs, tokenizer: Any) -> dict[str, Examples]:
    """All splits; ties stay in training for objectives that learn a probability, and are never evaluated."""
    limit = row_limit(inputs["base"].path, params.max_length)
    soft = keeps_ties("pair", needs(params.objective.name))
    splits = {
        name: read_examples(
            inputs["dataset"].path / f"{name}.jsonl",
            tokenizer,
            view="pair",
            keep_ties=soft and name == "train",
            max_length=limit,
        )
        for name in ("train", "validation", "test")
    }
    if not splits["train"].items:
        raise ArtifactError(
            f"reward_modeling: no comparisons to train on (left out: {dict(splits['train'].dropped)}). "
            "Curate feedback that has pairs, rankings or scores."
        )
    return splits


def task(params: Params, examples: list[Example], device: torch.device) -> Task:
    """What the training loop needs: both completions of each pair read in one forward pass, and the objective."""
    wanted = needs(params.objective.name)
    objective = bind(params.objective, families=("reward",))

    def forward(model: nn.Module, pairs: list[Example]) -> dict[str, Tensor]:
        chosen, rejected = pair_readings(model, params.kind, pairs, device)
        quantities = _quantities(params.kind, chosen, rejected, wanted)
        for name in sorted(pairs[0].given.keys() & set(wanted)):
            quantities[name] = chosen.new_tensor([pair.given[name] for pair in pairs])
        return quantities

    return Task(
        examples=examples,
        lengths=[pair.separate_tokens for pair in examples],
        forward=forward,
        loss=lambda quantities: objective(**{name: quantities[name] for name in wanted}),
        weights=[pair.weight for pair in examples],
        metrics=training_metrics,
    )


def _quantities(kind: Choice, chosen: Tensor, rejected: Tensor, wanted: tuple[str, ...]) -> dict[str, Tensor]:
    """What a kind gives of pairs ([B] each), from the readings [B, D] of both sides; the log shows scores if any."""
    found: dict[str, Tensor] = {}
    if is_scored(kind.name):
        found = {"chosen_scores": chosen[:, 0], "rejected_scores": rejected[:, 0]}
    if not found or "pair_logits" in wanted:
        found["pair_logits"] = pair_logits(kind, chosen, rejected)
    return found


def _ask(model: nn.Module, pairs: list[Example], params: Params, device: torch.device, what: str) -> Preferences:
    """What the trained model says of pairs."""
    chosen, rejected = read_pairs(
        model,
        params.kind,
        pairs,
        device=device,
        precision=params.compute.precision,
        micro_batch_tokens=params.optimization.micro_batch_tokens,
        progress=what,
    )
    logits = pair_logits(params.kind, torch.from_numpy(chosen), torch.from_numpy(rejected)).numpy()
    if not is_scored(params.kind.name):
        return Preferences(logits)
    return Preferences(logits, chosen[:, 0], rejected[:, 0])


def _measure(model: nn.Module, splits: dict[str, Examples], params: Params, device: torch.device) -> dict[str, Any]:
    learned = splits["train"]
    sample = np.linspace(0, len(learned.items) - 1, min(MOMENTS, len(learned.items))).astype(int)
    moments = reward_moments(_ask(model, [learned.items[i] for i in sample], params, device, "train"))
    metrics: dict[str, Any] = {f"reward/{name}": value for name, value in moments.items()}
    decided = [comparison for comparison in learned.origins if not comparison.tie]
    for name, split in splits.items():
        metrics |= {f"{name}/left_out/{reason}": count for reason, count in sorted(split.dropped.items())}
        if name != "train":
            found = quality(split.origins, _ask(model, split.items, params, device, name), decided)
            metrics |= {f"{name}/{metric}": value for metric, value in found.items()}
    return metrics | {"train/n": len(learned.items)}


def _write_card(params: Params, inputs: Inputs, outputs: Outputs, metrics: dict[str, Any]) -> None:
    """The card: which kind it is (that is how it is loaded), what it learned from, and the scale of its scores."""
    card = {
        "kind": dump(params.kind),
        "objective": dump(params.objective),
        "base": inputs["base"].id,
        "dataset": inputs["dataset"].id,
        "reward": {name: metrics[f"reward/{name}"] for name in ("mean", "std", "n") if f"reward/{name}" in metrics},
        "metrics": metrics,
    }
    write_card(outputs["model"], card)


def _execution(params: Params, model: nn.Module, trained: Trained, device: torch.device) -> dict[str, float]:
    """Speed and memory belong to this run on this machine, not to the artifact. An example is a comparison."""
    tokens = trained.tokens * trained.seconds_rows // max(1, trained.rows)
    flops = throughput.training_flops(model, tokens, completion_tokens=0)
    return throughput.report(
        params.compute, device, rows=trained.seconds_rows, tokens=tokens, flops=flops, seconds=trained.seconds
    )
