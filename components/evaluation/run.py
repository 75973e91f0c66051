"""Sample, score, compare, report: what a candidate policy is worth against a reference and a champion."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.contract.params import dump
from components.contract.run import Inputs, Metrics, Outputs
from components.evaluation import measure
from components.evaluation.examples import Evidence, example, selections
from components.evaluation.measure import Table
from components.evaluation.params import Params
from components.evaluation.provenance import describe, refuse_own_reward_model
from components.evaluation.report import Page, render
from components.evaluation.scorers import gold_scores, judge_systems, reward_scores
from components.evaluation.showcase import draw
from components.evaluation.systems import kl_is_defined, run_systems
from components.evaluation.testset import read_test_set
from components.records import read_lines, write_lines
from components.statistics.intervals import Bootstrap
from components.training.runtime import setup


def run(params: Params, inputs: Inputs, outputs: Outputs) -> Metrics:
    """Write the report artifact; returns its flat metrics."""
    refuse_own_reward_model(inputs)
    device = setup(params.compute, params.seed)
    test = read_test_set(inputs["dataset"].path, params.n_prompts, params.seed)
    shown = draw(outputs.identity, test.hash, [prompt.source for prompt in test.prompts], params.showcase)
    systems = run_systems(inputs, test, params, device)
    model = inputs.get("reward_model")
    rewards = reward_scores(model.path, test, systems, params, device) if model else None
    judged = judge_systems(test.prompts, systems, params, outputs.cache) if params.use_judge else None
    gold = gold_scores(test.prompts, systems) if params.gold else None
    outputs.execution.update(judged.execution if judged else {})
    contests = measure.contests(systems, rewards, gold, judged)
    evidence = Evidence(test, systems, rewards, gold, judged, contests)
    table = measure_all(evidence, params)
    _write(evidence, table, params, inputs, outputs, shown)
    return table.metrics


def measure_all(evidence: Evidence, params: Params) -> Table:
    """Every metric there are data for."""
    table, bootstrap = Table(), Bootstrap(params.resamples, params.seed)
    test, systems = evidence.test, evidence.systems
    measure.measure_data(table, test, bootstrap)
    measure.measure_baselines(table, test, bootstrap)
    measure.measure_ranking(table, test, systems, bootstrap)
    measure.measure_kl(table, systems, kl_is_defined(params), bootstrap)
    measure.measure_completions(table, systems, bootstrap)
    if evidence.rewards is not None:
        measure.measure_reward_model(table, test, evidence.rewards, bootstrap)
        measure.measure_gain(table, "reward_model", evidence.rewards.answers, systems, bootstrap)
        row = measure.length_correlation(evidence.rewards, systems, bootstrap)
        table.add("reward_model.length_correlation", row, "all answers have one length, or one reward")
    else:
        table.missing["reward_model.accuracy"] = "no reward model was given"
    if evidence.gold is not None:
        measure.measure_gain(table, "gold", evidence.gold, systems, bootstrap)
    if evidence.judged is not None:
        measure.measure_judge(table, test, evidence.judged, systems, bootstrap)
    else:
        table.missing["win_rate.judge.vs_reference"] = "use_judge is false"
    for contest in evidence.contests:
        measure.measure_contest(table, test, contest, systems, bootstrap)
    table.metrics = dict(sorted(table.metrics.items()))
    return table


def _training_log(policy: Path) -> list[dict[str, Any]]:
    log = policy / "training_log.jsonl"
    return list(read_lines(log)) if log.is_file() else []


def _write(
    evidence: Evidence, table: Table, params: Params, inputs: Inputs, outputs: Outputs, shown: Sequence[int]
) -> None:
    folder = outputs["report"]
    sample = [example(evidence, i) for i in shown]
    selected = [vars(chosen) | {"rows": [example(evidence, i) for i in chosen.rows]} for chosen in selections(evidence)]
    _write_json(folder / "metrics.json", table.metrics)
    _write_json(folder / "slices.json", _slices(evidence, table))
    write_lines(folder / "verdicts.jsonl", evidence.judged.records if evidence.judged else [])
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
        sample=sample,
        selected=selected,
        rule=params.rule,
    )
    (folder / "report.html").write_text(render(evidence, table, page), encoding="utf-8")


def _slices(evidence: Evidence, table: Table) -> dict[str, Any]:
    """What metrics.json has no room for: groups, raw counts, what is missing and what was left out."""
    counts = [{"scorer": c.scorer, "opponent": c.opponent} | vars(c.tally) for c in evidence.contests]
    return {
        "rows": table.slices,
        "tallies": counts,
        "missing": dict(sorted(table.missing.items())),
        "test": {
            "prompts": len(evidence.test.prompts),
            "prompts_available": evidence.test.available,
            "prompt_set_hash": evidence.test.hash,
            "comparisons": len(evidence.test.comparisons),
            "ties_left_out": evidence.test.ties,
            "dropped": evidence.test.dropped,
        },
        "verdicts_left_out": evidence.judged.left_out if evidence.judged else {},
    }


def _write_json(path: Path, value: Any) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
