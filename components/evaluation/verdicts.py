"""What a judge said of the candidate's answers against another system's: the verdicts artifacts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.contract.run import Input, Inputs
from components.errors import ArtifactError, WiringError
from components.judges import PairResult, Rule, Verdict, combine
from components.measures.evidence import Answers
from components.records import read_lines

OUTCOMES = ("a", "b", "tie", None)


@dataclass(frozen=True)
class Verdicts:
    """One verdicts artifact about the candidate (a) against one opponent (b): who judged, and rows by prompt key."""

    source: Input
    opponent: str
    judge: Any
    rows: Mapping[str, dict[str, Any]]

    def results(self, answers: Answers, rule: Rule) -> list[PairResult]:
        """Both orders of every prompt combined by the rule; a pair that was not put forward has no verdict."""
        return [_result(self.rows.get(sample.prompt_key), rule) for sample in answers.samples]


def _result(row: dict[str, Any] | None, rule: Rule) -> PairResult:
    if row is None:
        none = Verdict(None, reason="this pair was not put forward")
        return PairResult(None, None, None, none, none)
    if row["identical"]:
        tie = Verdict("tie", reason="identical completions")
        return PairResult(0.5, "tie", None, tie, tie, identical=True)
    first, second = (Verdict(row[order], reason=row.get(f"reason_{order}", "")) for order in ("first", "second"))
    return combine(first, second, rule)


def read_verdicts(inputs: Inputs, systems: Mapping[str, Answers]) -> list[Verdicts]:
    """Every verdicts artifact. Raises WiringError for one that is not about the candidate and an opponent."""
    found: dict[str, Verdicts] = {}
    for item in inputs.many("verdicts"):
        verdicts = _read(item, systems)
        if verdicts.opponent in found:
            raise WiringError(
                f"evaluation --in verdicts: two artifacts judge the candidate against the {verdicts.opponent} (got "
                f"{found[verdicts.opponent].source.id} and {item.id}). Pass one of them."
            )
        found[verdicts.opponent] = verdicts
    return list(found.values())


def _read(item: Input, systems: Mapping[str, Answers]) -> Verdicts:
    try:
        summary = json.loads((item.path / "summary.json").read_text(encoding="utf-8"))
        mine, theirs, judge = summary["samples"], summary["against"], summary["judge"]
        rows = {row["prompt_key"]: row for row in read_lines(item.path / "verdicts.jsonl") if _checked(row)}
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{item.path}: holds no readable verdicts ({error!r}). Rerun llm_feedback.") from error
    opponent = next((name for name, a in systems.items() if name != "candidate" and a.id == theirs), "")
    if mine != systems["candidate"].id or not opponent:
        raise WiringError(
            f"evaluation --in verdicts: {item.path} judges {mine} against {theirs}, which are not the candidate's "
            "answers against another system's. Judge the answers that are evaluated, the candidate's as `samples`."
        )
    return Verdicts(item, opponent, judge, rows)


def _checked(row: dict[str, Any]) -> bool:
    if row["a"]["sample"] != 0 or row["b"]["sample"] != 0:
        raise ValueError("a pair is not of samples 0")
    if not row["identical"] and any(row[order] not in OUTCOMES for order in ("first", "second")):
        raise ValueError(f"an outcome must be one of {OUTCOMES}")
    return True
