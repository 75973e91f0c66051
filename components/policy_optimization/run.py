"""Optimize a policy: read the feedback, make the reference, train, save, check what was saved, validate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from components.contract import Inputs, Metrics, Outputs
from components.objectives import resolve
from components.policy_optimization.metrics import batch_means, estimates, report, wanted
from components.policy_optimization.params import Params
from components.policy_optimization.prepare import Work, check_step_zero, read, references
from components.sequences import Example
from components.training import batch_statistics, distributed, saved_check, scoring_check, throughput
from components.training.batch_statistics import State
from components.training.batching import Batch
from components.training.logprobs import completion_logps
from components.training.loop import Task, Trained, train, write_log
from components.training.lora import add_adapters, merge_adapters
from components.training.lora_targets import check_targets
from components.training.runtime import load_policy, save_policy, setup
from components.training.scorer import Reference, Scorer, lengths, share_prompts

References = Mapping[str, Reference]


def run(params: Params, inputs: Inputs, outputs: Outputs) -> Metrics:
    """The policy of `inputs`, optimized; every process calls it, the first one writes."""
    device = setup(params.compute, params.seed)
    distributed.start(device)
    distributed.check_same(outputs.identity, device)
    objective = resolve(params.objective, "policy")
    model, tokenizer = load_policy(inputs["policy"].path, params.compute)
    check_targets(model, params.lora, "policy_optimization.lora.targets")
    splits = read(params, inputs, tokenizer, objective)
    work = Work(
        params=params,
        inputs=inputs,
        outputs=outputs,
        tokenizer=tokenizer,
        objective=objective,
        statistics=batch_statistics.of(objective),
        splits=splits,
        scorer=_scorer(params, splits["train"].items, model, device),
    )
    compared = references(work, model)
    model = add_adapters(model, params.lora, params.seed)
    if compared and work.own_reference:
        check_step_zero(work, model, compared["ref"])
    trained = train(
        model,
        task(work, compared),
        optimization=params.optimization,
        compute=params.compute,
        seed=params.seed,
        identity=outputs.identity,
        workdir=outputs.workdir,
        title=params.objective.name,
    )
    outputs.execution.update(_execution(work, model, trained))
    validated = dict(_validate(work, model, compared, trained))
    model = merge_adapters(model)
    if distributed.is_main():
        _save(work, model, trained)
    return {**_counts(work, trained), **validated}


def _scorer(params: Params, examples: list[Example], model: Any, device: torch.device) -> Scorer:
    share = share_prompts(params.shared_prompts, examples, model, _token_logps, device)
    shared = distributed.everywhere(share, device)
    return Scorer(shared, device, params.compute.precision, params.optimization.micro_batch_tokens)


def _token_logps(model: Any, batch: Batch) -> Tensor:
    return completion_logps(model, batch).tokens


def task(work: Work, compared: References) -> Task:
    """What the loop needs to know about this objective and these examples."""
    items, objective, scorer = work.train, work.objective, work.scorer
    needs = wanted(objective)
    moving = compared.get("ref")

    def statistics(model: nn.Module, rows: list[int], state: State) -> tuple[dict[str, float], State]:
        return work.statistics.measure(model, [items[row] for row in rows], state, scorer, _forward(work, compared))

    return Task(
        examples=items,
        lengths=lengths(items),
        forward=lambda model, batch: scorer.quantities(model, batch, needs, compared),
        loss=objective.losses,
        weights=[example.weight for example in items],
        statistics=statistics if work.statistics else None,
        state=work.statistics.start(),
        report=lambda quantities: report(quantities, objective),
        metrics=batch_means,
        numbers=objective.trains,
        after=getattr(moving, "after", None),
        tensors=getattr(moving, "tensors", {}),
        probe=_probe(work),
    )


def _probe(work: Work) -> saved_check.Probe:
    return saved_check.policy_probe(saved_check.rows_of(work.train), work.scorer.device)


def _forward(work: Work, compared: References) -> batch_statistics.Forward:
    return lambda model, some, needs: work.scorer.quantities(model, some, needs, compared)


def _execution(work: Work, model: Any, trained: Trained) -> dict[str, float]:
    """Rates of the training loop, from the mean size of an example."""
    rows, items, scorer = trained.seconds_rows, work.train, work.scorer
    tokens = rows * scorer.tokens(items) // len(items)
    counted = sum(len(sequence.counted) for example in items for sequence in example.sequences)
    flops = throughput.training_flops(model, tokens, rows * counted // len(items))
    seconds = trained.seconds
    return throughput.report(scorer.precision, scorer.device, rows=rows, tokens=tokens, flops=flops, seconds=seconds)


def _save(work: Work, model: Any, trained: Trained) -> None:
    """Write the policy, load it again, and record what the loaded one computes.

    Raises ArtifactError if the merged model, or the one that was loaded again, is not the trained one.
    """
    folder, compute, params, say = work.outputs["policy"], work.params.compute, work.params, _probe(work)
    merged = say(model)
    saved_check.check_merged("policy_optimization", trained.said, merged, params.lora, params.optimization)
    save_policy(model, work.tokenizer, folder)
    write_log(trained.log, folder / "training_log.jsonl")
    rows = [example.sequences[0] for example in work.validation or work.train]
    model.to("cpu")  # a device must hold one of the two only
    reloaded, _ = load_policy(folder, compute)
    saved_check.check_reloaded("policy_optimization", merged, say(reloaded), model, reloaded, work.scorer.device)
    scoring_check.write(folder, reloaded, rows, compute)


def _counts(work: Work, trained: Trained) -> dict[str, Any]:
    """What training saw and made, and what was dropped, by reason."""
    items, dropped = work.train, work.splits["train"].dropped
    counts = {"empty": 0, "ties": 0, "identical": 0, **dropped, "examples": len(items), "nonfinite": trained.dropped}
    if "desirable" in items[0].given:
        counts["desirable"] = sum(example.given["desirable"] == 1 for example in items)
        counts["undesirable"] = len(items) - counts["desirable"]
    return {
        **{f"data/{name}": count for name, count in sorted(counts.items())},
        **{f"train/{name}": value for name, value in trained.numbers.items()},
        "train/steps": trained.steps,
        "train/loss": trained.log[-1]["loss"],
        "train/shared_prompts": work.scorer.shared,
    }


def _validate(work: Work, policy: Any, compared: References, trained: Trained) -> Iterator[tuple[str, Any]]:
    """Loss and metrics on the validation split; nothing if it is empty, or too small for a statistic of a batch.

    What a statistic remembers is that of training.
    """
    items, objective, scorer = work.validation, work.objective, work.scorer
    if not work.validates:
        return
    numbers = dict(trained.numbers)
    if work.statistics:
        numbers |= work.statistics.measure(policy, items, trained.state, scorer, _forward(work, compared))[0]

    def compute(some: list[Example]) -> dict[str, Tensor]:
        quantities = scorer.quantities(policy, some, wanted(objective), compared)
        for name, value in numbers.items():
            shape = () if name in objective.trains else (len(some),)
            quantities[name] = torch.full(shape, value, device=scorer.device)
        return {"loss": objective.losses(quantities), **report(quantities, objective)}

    values = scorer.collect(items, compute, "validation")
    yield from estimates(values, [example.cluster for example in items], "validation").items()
