"""Measure and report: what a candidate policy is worth against a reference and a champion. Loads no model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.contract.params import dump
from components.contract.run import Inputs, Metrics, Outputs
from components.evaluation.answers import kl_is_defined, read_answers
from components.evaluation.examples import contests, example, selections
from components.evaluation.params import Params
from components.evaluation.provenance import describe, refuse_own_reward_model
from components.evaluation.report import Page, render
from components.evaluation.scores import Scores, likelihood_of, logps_of, read_scores
from components.evaluation.showcase import draw
from components.evaluation.slices import slice_rows
from components.evaluation.tables import headlines
from components.evaluation.testset import HeldOut, read_test_set
from components.evaluation.verdicts import read_verdicts
from components.evaluation.witnesses import Given, hear
from components.measures.evidence import Answers, Evidence
from components.measures.take import Results, take
from components.measures.wins import tally
from components.records import read_lines, write_lines
from components.statistics import Bootstrap


def run(params: Params, inputs: Inputs, outputs: Outputs) -> Metrics:
    """Write the report artifact; returns its flat metrics."""
    evidence = gather(params, inputs)
    results = take(evidence, params.measures)
    results.metrics = dict(sorted(results.metrics.items()))
    test = evidence.test
    shown = draw(outputs.identity, test.hash, [prompt.source for prompt in test.prompts], params.showcase)
    _write(evidence, results, params, inputs, outputs, shown)
    return results.metrics


def gather(params: Params, inputs: Inputs) -> Evidence:
    """Everything that was given, checked and brought into the order of the prompts."""
    systems = read_answers(inputs)
    held_out = read_test_set(inputs["dataset"].path, systems["candidate"].samples)
    scores = read_scores(inputs, held_out)
    refuse_own_reward_model(inputs["policy"], scores)
    given = Given(held_out, systems, scores, read_verdicts(inputs, systems), params)
    log_ratios, why_not = _log_ratios(systems, scores)
    return Evidence(
        test=held_out.test,
        systems=systems,
        witnesses=hear(given),
        likelihoods=_likelihoods(systems, scores, held_out),
        log_ratios=log_ratios,
        no_log_ratios=why_not,
        bootstrap=Bootstrap(params.resamples, params.seed),
    )


def _likelihoods(systems: Mapping[str, Answers], scores: Sequence[Scores], held_out: HeldOut) -> dict[str, Any]:
    found = {name: likelihood_of(answers.policy, scores, held_out) for name, answers in systems.items()}
    return {name: likelihood for name, likelihood in found.items() if likelihood is not None}


def _log_ratios(
    systems: Mapping[str, Answers], scores: Sequence[Scores]
) -> tuple[dict[str, list[list[float]]], dict[str, str]]:
    """Of every system but the reference: its answers' token log-ratios, or why there are none."""
    found, why_not = {}, {}
    reference = systems["reference"]
    for name, answers in systems.items():
        if name == "reference":
            continue
        theirs = logps_of(answers, reference.policy, scores)
        if not kl_is_defined(answers):
            why_not[name] = "defined for temperature > 0 and top_p 1 only"
        elif answers.vocabulary != reference.vocabulary:
            why_not[name] = "its vocabulary differs from the reference's"
        elif theirs is None:
            why_not[name] = f"no log-probabilities of the {name}'s answers under the reference were given"
        else:
            own = (sample.logprobs for sample in answers.samples)
            found[name] = [[a - b for a, b in zip(*pair, strict=True)] for pair in zip(own, theirs, strict=True)]
    return found, why_not


def _training_log(policy: Path) -> list[dict[str, Any]]:
    log = policy / "training_log.jsonl"
    return list(read_lines(log)) if log.is_file() else []


def _write(
    evidence: Evidence, results: Results, params: Params, inputs: Inputs, outputs: Outputs, shown: Sequence[int]
) -> None:
    folder = outputs["report"]
    sample = [example(evidence, i) for i in shown]
    selected = [vars(chosen) | {"rows": [example(evidence, i) for i in chosen.rows]} for chosen in selections(evidence)]
    slices = slice_rows(evidence)
    _write_json(folder / "metrics.json", results.metrics)
    _write_json(folder / "headlines.json", headlines(results))
    _write_json(folder / "slices.json", _slices(evidence, results, slices))
    rows = [{"section": "random"} | row for row in sample]
    rows += [
        {"section": "selected", "selection": group["title"], "rule": group["rule"]} | row
        for group in selected
        for row in group["rows"]
    ]
    write_lines(folder / "showcase.jsonl", rows)
    page = Page(
        identity=outputs.identity,
        provenance=[describe(item) for item in inputs],
        params=json.dumps(dump(params, execution=False), indent=1, ensure_ascii=False),
        training_log=_training_log(inputs["policy"].path),
        slices=slices,
        sample=sample,
        selected=selected,
        rule=params.rule,
    )
    (folder / "report.html").write_text(render(evidence, results, page), encoding="utf-8")


def _slices(evidence: Evidence, results: Results, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What metrics.json has no room for: groups, raw counts, what is missing and what was left out."""
    test = evidence.test
    counts = [
        {"witness": w.name, "opponent": opponent} | vars(tally(w.wins[opponent])) for opponent, w in contests(evidence)
    ]
    systems = {name: {"samples": a.id, "policy": a.policy} for name, a in evidence.systems.items()}
    return {
        "rows": rows,
        "tallies": counts,
        "missing": dict(sorted(results.missing.items())),
        "systems": systems,
        "test": {
            "prompts": len(test.prompts),
            "prompts_available": test.available,
            "prompt_set_hash": test.hash,
            "comparisons": len(test.decided.items),
            "ties_left_out": test.ties,
            "dropped": test.dropped,
        },
    }


def _write_json(path: Path, value: Any) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
