"""Put sampled completions to a judge and write what came of it as feedback records.

What is asked is a prompt contract, what becomes of the answers a source (both by name); the two kinds of items, pairs
and single completions, are put forward by `pairs` and `completions`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from components.contract import Inputs, Metrics, Outputs
from components.errors import ParamsError, RecordError
from components.judges import SOURCES, Judge, open_judge
from components.judges.served import is_another
from components.llm_feedback.asked import Asked, Case
from components.llm_feedback.completions import ask_completions
from components.llm_feedback.pairs import ask_pairs
from components.llm_feedback.params import Params
from components.records import Record, write_lines
from components.records.feedback import write_feedback
from components.records.samples import sample_record

ASK: dict[str, Callable[[Judge[Any, Any], Params, Inputs], Asked]] = {"pair": ask_pairs, "completion": ask_completions}


def run(params: Params, inputs: Inputs, outputs: Outputs) -> Metrics:
    """Returns what the judge could not read, its consistency and its leaning to a position, beside the counts."""
    judge: Judge[Any, Any] = open_judge(
        params.judge, params.contract, outputs.cache, outputs.workdir, inputs.get("model")
    )
    asked = ASK[SOURCES[params.source.name].facts["item"]](judge, params, inputs)
    outputs.execution.update(judge.execution())
    _refuse_silence(asked.cases)
    provenance = {"source": "llm_feedback", "license": params.license, "run_id": outputs.identity}
    records, quarantine, counts = _records(asked, judge, params, provenance)
    metrics = {**asked.metrics, **counts}
    summary = write_feedback(
        outputs["feedback"], records, [*asked.quarantine, *quarantine], judge=metrics, served_models=asked.served_models
    )
    _write_verdicts(asked, judge, params, inputs, outputs)
    return {**metrics, "n_records": summary["n_records"], "n_quarantined": summary["n_quarantined"]}


def _records(
    asked: Asked, judge: Judge[Any, Any], params: Params, provenance: dict[str, Any]
) -> tuple[list[Record], list[dict[str, Any]], Counter[str]]:
    """One record per case that the source settles; a case without an answer, or a record that breaks a rule, is
    quarantined."""
    row = SOURCES[params.source.name]
    settle = SOURCES.bind(params.source)
    records, quarantine = [], []
    counts = Counter(dict.fromkeys(row.facts["counts"], 0))
    for case in asked.cases:
        known = {**case.answer, "contract": params.contract, "explain": judge.explains}
        settled = settle(**{name: known[name] for name in row.needs})
        counts.update(settled.counts)
        if settled.why:
            quarantine.append(
                case.of.quarantined("has_parsed_judgment", "judgments", f"no {row.facts['answer']}: {settled.why}")
            )
        elif settled.judgments:
            try:
                records.append(
                    sample_record(
                        case.candidates,
                        settled.judgments,
                        _annotator(judge, case),
                        provenance,
                        context=params.contract.context(),
                        n_retries=sum(reply.n_retries for reply in case.replies),
                    )
                )
            except RecordError as error:  # an empty answer is compared, but it is nothing to learn from
                quarantine.append(case.of.quarantined(error.rule, error.field, str(error)))
    return records, quarantine, counts


def _annotator(judge: Judge[Any, Any], case: Case) -> dict[str, Any]:
    """Who judged. Where another model answered than was asked, that one's name is the revision."""
    who = judge.annotator(case.item)
    others = sorted({reply.served_model for reply in case.replies if is_another(who["id"], reply.served_model)})
    return {**who, "revision": " + ".join(others)} if others else who


def _refuse_silence(cases: Sequence[Case]) -> None:
    """A judge that never gives an answer is a wrong setting, not twenty bad pairs."""
    replies = [reply for case in cases for reply in case.replies]
    if not replies or any(all(reply.parse_ok for reply in case.replies) for case in cases):
        return
    reasons = Counter(reply.reason for reply in replies if reply.reason)
    common = "; ".join(f"{reason}: {count}" for reason, count in reasons.most_common(3))
    raise ParamsError(
        f"llm_feedback.judge: not one of {len(cases)} items got an answer (got {common}). "
        "Raise judge.max_tokens, or use a model that follows the prompt."
    )


def _write_verdicts(asked: Asked, judge: Judge[Any, Any], params: Params, inputs: Inputs, outputs: Outputs) -> None:
    folder, against = outputs["verdicts"], inputs.get("against")
    write_lines(folder / "verdicts.jsonl", asked.verdicts)
    summary: Mapping[str, Any] = {
        "judge": {**judge.who(), "contract": params.contract.ref, "served_models": asked.served_models},
        "samples": inputs["samples"].id,
        "against": against.id if against else None,
        **asked.stats,
    }
    text = json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (folder / "summary.json").write_text(text, encoding="utf-8")
