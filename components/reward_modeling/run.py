"""Fit a preference model on the comparisons of a curated data set, measure it, and write it down."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from components.contract import Inputs, Metrics, Outputs, dump
from components.errors import ArtifactError
from components.model_files.positions import row_limit
from components.objectives import Objective, Quantity, needs, parse, resolve
from components.preference_models import is_scored
from components.preference_models.model import write_card
from components.preference_models.network import load_network, new_network, save_network
from components.preference_models.readings import measurer, read_rows, readings
from components.reward_modeling.params import Params
from components.reward_modeling.report import Preferences, quality, reward_moments, training_metrics
from components.sequences import Example, Examples, read_examples
from components.sequences.read import keeps_ties
from components.training import distributed, saved_check, throughput
from components.training.loop import Task, Trained, train, write_log
from components.training.lora import add_adapters, merge_adapters
from components.training.lora_targets import check_targets
from components.training.runtime import device_of, setup
from components.training.scorer import Scorer, lengths, share_prompts

HEADED = "SEQ_CLS"  # as peft says that the head is trained in full beside adapters
MOMENTS = 1000  # training comparisons whose rewards give the mean and deviation on the card


@dataclass(frozen=True)
class Data:
    """`train` as the objective reads it; `pairs`: the comparisons of every split, what all kinds are measured on."""

    train: Examples
    pairs: dict[str, Examples]


def run(params: Params, inputs: Inputs, outputs: Outputs) -> Metrics:
    """Write the preference_model artifact; every process calls it, the first one writes."""
    device = setup(params.compute, params.seed)
    distributed.start(device)
    distributed.check_same(outputs.identity, device)
    objective = resolve(params.objective, "reward")
    model, tokenizer = new_network(inputs["base"].path, params.kind, params.compute, seed=params.seed)
    check_targets(model, params.lora, "reward_modeling.lora.targets", HEADED)
    data = _read(params, inputs, objective, tokenizer)
    values = lambda model, batch: readings(model, params.kind, batch)  # noqa: E731
    share = share_prompts("auto", data.train.items, model, values, device)
    shared = distributed.everywhere(share, device)
    budget = params.optimization.micro_batch_tokens
    scorer = Scorer(shared, device, params.compute.precision, budget, measurer(params.kind))
    model = add_adapters(model, params.lora, params.seed, task=HEADED)
    say = _probe(params, data.train.items, device)
    trained = train(
        model,
        replace(task(params, objective, scorer, data.train.items), probe=say),
        optimization=params.optimization,
        compute=params.compute,
        seed=params.seed,
        identity=outputs.identity,
        workdir=outputs.workdir,
        title="reward_modeling",
    )
    model = merge_adapters(model)
    outputs.execution |= _execution(params, model, scorer, trained)
    metrics = _measure(params, model, scorer, data)
    metrics |= {"train/steps": trained.steps, "train/rows": trained.rows, "train/loss_not_finite": trained.dropped}
    if distributed.is_main():
        _save(params, model, tokenizer, outputs["model"], trained.said, say)
        write_log(trained.log, outputs["model"] / "training_log.jsonl")
        write_card(outputs["model"], _card(params, inputs, metrics))
    return metrics


def _probe(params: Params, examples: list[Example], device: torch.device) -> saved_check.Probe:
    """What a model says of rows of the training data: their readings."""
    rows = saved_check.rows_of(examples)

    def say(model: nn.Module) -> saved_check.Said:
        found = read_rows(model, params.kind, rows, device=device, precision="fp32", micro_batch_tokens=1)
        return list(found)

    return say


def _save(
    params: Params, model: Any, tokenizer: Any, folder: Path, trained: saved_check.Said, say: saved_check.Probe
) -> None:
    """Write the network and load it again. Raises ArtifactError if either is not the trained one."""
    merged = say(model)
    saved_check.check_merged("reward_modeling", trained, merged, params.lora, params.optimization)
    save_network(model, tokenizer, folder)
    model.to("cpu")  # a device must hold one of the two only
    reloaded, _ = load_network(folder, params.kind, params.compute)
    saved_check.check_reloaded("reward_modeling", merged, say(reloaded), model, reloaded, device_of(params.compute))


def _read(params: Params, inputs: Inputs, objective: Objective, tokenizer: Any) -> Data:
    """Ties stay in training for objectives that learn a probability, and are never evaluated."""
    folder = inputs["dataset"].path
    limit = row_limit(inputs["base"].path, params.max_length)

    def examples(split: str, view: str, ties: bool = False) -> Examples:
        return read_examples(folder / f"{split}.jsonl", tokenizer, view=view, keep_ties=ties, max_length=limit)

    learned = examples("train", objective.view, keeps_ties(objective.view, needs(params.objective.name)))
    if not learned.items:
        raise ArtifactError(
            f"reward_modeling: no examples to train on (left out: {dict(learned.dropped)}). "
            "Curate feedback that has pairs, rankings or scores."
        )
    pairs = {name: examples(name, "pair") for name in ("validation", "test")}
    return Data(learned, {"train": learned if objective.view == "pair" else examples("train", "pair"), **pairs})


def _shown(params: Params) -> list[Quantity]:
    """What is logged of a pair, and measured."""
    names = ("chosen_scores", "rejected_scores") if is_scored(params.kind.name) else ("pair_logits",)
    return [parse(name, "pair") for name in names]


def task(params: Params, objective: Objective, scorer: Scorer, examples: list[Example]) -> Task:
    """What the loop needs to know about this objective, this kind and these examples."""
    shown = _shown(params) if objective.view == "pair" else []
    asked = list({need.name: need for need in (*shown, *objective.needs)}.values())
    names = {need.name for need in shown}
    return Task(
        examples=examples,
        lengths=lengths(examples),
        forward=lambda model, some: scorer.quantities(model, some, asked),
        loss=objective.losses,
        weights=[example.weight for example in examples],
        report=lambda quantities: {name: value for name, value in quantities.items() if name in names},
        metrics=training_metrics if shown else None,
        numbers=objective.trains,
    )


def _ask(params: Params, model: nn.Module, scorer: Scorer, pairs: list[Example], what: str) -> Preferences:
    """What the trained model says of pairs."""
    if not pairs:
        return Preferences(np.empty(0))
    shown = _shown(params)
    found = scorer.collect(pairs, lambda some: scorer.quantities(model, some, shown), what)
    if "pair_logits" in found:
        return Preferences(found["pair_logits"])
    chosen, rejected = found["chosen_scores"], found["rejected_scores"]
    return Preferences(chosen - rejected, chosen, rejected)


def _measure(params: Params, model: nn.Module, scorer: Scorer, data: Data) -> dict[str, Any]:
    known = data.pairs["train"]
    sample = np.linspace(0, len(known.items) - 1, min(MOMENTS, len(known.items))).astype(int)
    moments = reward_moments(_ask(params, model, scorer, [known.items[i] for i in sample], "train"))
    metrics: dict[str, Any] = {f"reward/{name}": value for name, value in moments.items()}
    decided = [comparison for comparison in known.origins if not comparison.tie]
    for name, split in {**data.pairs, "train": data.train}.items():
        metrics |= {f"{name}/left_out/{reason}": count for reason, count in sorted(split.dropped.items())}
    for name in ("validation", "test"):
        split = data.pairs[name]
        found = quality(split.origins, _ask(params, model, scorer, split.items, name), decided)
        metrics |= {f"{name}/{metric}": value for metric, value in found.items()}
    return metrics | {"train/n": len(data.train.items)}


def _card(params: Params, inputs: Inputs, metrics: dict[str, Any]) -> dict[str, Any]:
    """Which kind it is (that is how it is loaded), what it learned from, and the scale of its scores."""
    return {
        "kind": dump(params.kind),
        "objective": dump(params.objective),
        "base": inputs["base"].id,
        "dataset": inputs["dataset"].id,
        "reward": {name: metrics[f"reward/{name}"] for name in ("mean", "std", "n") if f"reward/{name}" in metrics},
        "metrics": metrics,
    }


def _execution(params: Params, model: nn.Module, scorer: Scorer, trained: Trained) -> dict[str, float]:
    """Speed and memory belong to this run on this machine, not to the artifact. An example is a comparison."""
    tokens = trained.tokens * trained.seconds_rows // max(1, trained.rows)
    flops = throughput.training_flops(model, tokens, completion_tokens=0)
    return throughput.report(
        scorer.precision, scorer.device, rows=trained.seconds_rows, tokens=tokens, flops=flops, seconds=trained.seconds
    )
