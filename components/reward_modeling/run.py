"""Fit a reward model on the comparisons of a curated data set, measure it, and write it down."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from components.contract import Inputs, Metrics, Outputs, dump
from components.errors import ArtifactError
from components.objectives import bind, needs
from components.preference_models import new_reward_model, pair_rewards, save_reward_model, score_pairs
from components.reward_modeling.data import Split, read_split
from components.reward_modeling.params import Params
from components.reward_modeling.report import quality, reward_moments, training_metrics
from components.training import distributed, throughput
from components.training.loop import Task, Trained, train, write_log
from components.training.lora import add_adapters, merge_adapters
from components.training.runtime import setup

MOMENTS = 1000  # training comparisons whose rewards give the mean and deviation on the card


def run(params: Params, inputs: Inputs, outputs: Outputs) -> Metrics:
    bind(params.objective, families=("reward",))  # a typo ends the step before anything is loaded
    device = setup(params.compute, params.seed)
    model, tokenizer = new_reward_model(inputs["base"].path, params.compute, seed=params.seed)
    splits = _read(params, inputs, model, tokenizer)
    model = add_adapters(model, params.lora, params.seed, task="SEQ_CLS")
    trained = train(
        model,
        task(params, splits["train"], device),
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
    save_reward_model(model, tokenizer, outputs["model"])
    write_log(trained.log, outputs["model"] / "training_log.jsonl")
    metrics = _measure(model, splits, params, device) | {"train/steps": trained.steps, "train/rows": trained.rows}
    metrics["train/loss_not_finite"] = trained.dropped
    _write_card(params, inputs, outputs, metrics)
    outputs.execution |= _execution(params, model, trained, device)
    return metrics


def _read(params: Params, inputs: Inputs, model: Any, tokenizer: Any) -> dict[str, Split]:
    """All splits; ties stay in training for objectives that learn a probability, and are never evaluated."""
    limit = min(params.max_length, getattr(model.config, "max_position_embeddings", params.max_length))
    soft = "preference_probability" in needs(params.objective.name)
    splits = {
        name: read_split(
            inputs["dataset"].path / f"{name}.jsonl",
            tokenizer,
            keep_ties=soft and name == "train",
            max_length=limit,
            what=name,
        )
        for name in ("train", "validation", "test")
    }
    if not splits["train"].pairs:
        raise ArtifactError(
            f"reward_modeling: no comparisons to train on (left out: {splits['train'].dropped}). "
            "Curate feedback that has pairs, rankings or scores."
        )
    return splits


def task(params: Params, split: Split, device: torch.device) -> Task:
    """What the training loop needs: rewards of both completions in one forward pass, and the objective on them."""
    wanted = needs(params.objective.name)
    objective = bind(params.objective, families=("reward",))
    labels = {
        "preference_probability": [item.probability for item in split.comparisons],
        "margin": [item.margin for item in split.comparisons],
    }

    def forward(model: nn.Module, rows: list[int]) -> dict[str, Tensor]:
        chosen, rejected = pair_rewards(model, [split.pairs[row] for row in rows], device)
        quantities = {"chosen_scores": chosen, "rejected_scores": rejected}
        for name in sorted(labels.keys() & set(wanted)):
            quantities[name] = chosen.new_tensor([labels[name][row] for row in rows])
        return quantities

    return Task(
        examples=range(len(split.pairs)),
        lengths=[len(pair) for pair in split.pairs],
        forward=forward,
        loss=lambda quantities: objective(**{name: quantities[name] for name in wanted}),
        weights=[item.weight for item in split.comparisons],
        metrics=training_metrics,
    )


def _measure(model: nn.Module, splits: dict[str, Split], params: Params, device: torch.device) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "device": device,
        "precision": params.compute.precision,
        "micro_batch_tokens": params.optimization.micro_batch_tokens,
    }
    learned = splits["train"]
    sample = np.linspace(0, len(learned.pairs) - 1, min(MOMENTS, len(learned.pairs))).astype(int)
    moments = reward_moments(*score_pairs(model, [learned.pairs[i] for i in sample], **settings, progress="train"))
    metrics: dict[str, Any] = {f"reward/{name}": value for name, value in moments.items()}
    decided = [item for item in learned.comparisons if not item.tie]
    for name, split in splits.items():
        metrics |= {f"{name}/left_out/{reason}": count for reason, count in split.dropped.items()}
        if name != "train":
            chosen, rejected = score_pairs(model, split.pairs, **settings, progress=name)
            found = quality(split.comparisons, chosen, rejected, decided)
            metrics |= {f"{name}/{metric}": value for metric, value in found.items()}
    return metrics | {"train/n": len(learned.pairs)}


def _write_card(params: Params, inputs: Inputs, outputs: Outputs, metrics: dict[str, Any]) -> None:
    card = {
        "objective": dump(params.objective),
        "base": inputs["base"].id,
        "dataset": inputs["dataset"].id,
        "reward": {name: metrics[f"reward/{name}"] for name in ("mean", "std", "n")},
        "metrics": metrics,
    }
    text = json.dumps(card, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (outputs["model"] / "card.json").write_text(text, encoding="utf-8")


def _execution(params: Params, model: nn.Module, trained: Trained, device: torch.device) -> dict[str, float]:
    """Speed and memory belong to this run on this machine, not to the artifact. An example is a comparison."""
    tokens = trained.tokens * trained.seconds_rows // max(1, trained.rows)
    flops = throughput.training_flops(model, tokens, completion_tokens=0)
    return throughput.report(
        params.compute, device, rows=trained.seconds_rows, tokens=tokens, flops=flops, seconds=trained.seconds
    )
