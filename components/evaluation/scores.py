"""What preference models and policies said of answers and comparisons: the scores artifacts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from components.contract.run import Input, Inputs
from components.errors import ArtifactError, WiringError
from components.evaluation.testset import SPLIT, HeldOut
from components.measures.evidence import Answers, Likelihood
from components.records import read_lines

Row = dict[str, Any]


@dataclass
class Scores:
    """One scores artifact. `kind`: preference_model or policy; `witness`: the content id of who scored."""

    source: Input
    kind: str
    name: str
    witness: str
    samples: dict[tuple[str, str], Row] = field(default_factory=dict)
    """by (samples id, prompt key): the row of sample 0"""
    pairs: dict[tuple[str, str, str], float] = field(default_factory=dict)
    """by (samples id of a, of b, prompt key): P(a preferred)"""
    comparisons: dict[int, Row] = field(default_factory=dict)
    """by place in the test split"""

    def of(self, answers: Answers, what: str) -> list[Any] | None:
        """`score` or `logps` of every answer; None unless all have one."""
        rows = [self.samples.get((answers.id, sample.prompt_key), {}).get(what) for sample in answers.samples]
        return None if any(row is None for row in rows) else rows


def read_scores(inputs: Inputs, held_out: HeldOut) -> list[Scores]:
    """Every scores artifact. Raises WiringError for one about other comparisons, ArtifactError for one that is none."""
    return [_read(item, inputs["dataset"].id, held_out) for item in inputs.many("scores")]


def _read(item: Input, dataset: str, held_out: HeldOut) -> Scores:
    try:
        summary = json.loads((item.path / "summary.json").read_text(encoding="utf-8"))
        who = summary["witness"]
        scores = Scores(item, str(who["kind"]), str(who["name"]), str(who["id"]))
        about = summary["dataset"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{item.path}/summary.json: not a summary of scores ({error!r}). Rerun scoring.") from error
    if scores.kind not in ("preference_model", "policy"):
        raise ArtifactError(f"{item.path}/summary.json: no such kind of witness (got {scores.kind}). Rerun scoring.")
    if about is not None and (about != dataset or summary.get("split") != SPLIT):
        raise WiringError(
            f"evaluation --in scores: {item.path} is about another split or data set (got {summary.get('split')} of "
            f"{about}, evaluated is {SPLIT} of {dataset}). Score the data set that is evaluated."
        )
    for line, row in enumerate(read_lines(item.path / "scores.jsonl"), start=1):
        try:
            _keep(scores, row, held_out)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            where = f"{item.path}/scores.jsonl:{line}"
            raise ArtifactError(f"{where}: not a row of scores ({error!r}). Rerun scoring.") from error
    return scores


def _keep(scores: Scores, row: Row, held_out: HeldOut) -> None:
    match row["of"]:
        case "sample":
            if row["sample"] == 0:
                scores.samples[row["samples"], row["prompt_key"]] = row
        case "pair":
            scores.pairs[row["a"], row["b"], row["prompt_key"]] = float(row["p"])
        case "comparison":
            if held_out.items[row["index"]].record_id != row["record_id"]:
                raise ValueError(f"comparison {row['index']} is of another record")
            scores.comparisons[row["index"]] = row
        case other:
            raise ValueError(f"of {other}")


def compared(scores: Scores, held_out: HeldOut) -> list[Row] | None:
    """The rows of the decided comparisons, in order; None if the scores are about none.

    Raises WiringError if some are there and others are not.
    """
    if not scores.comparisons:
        return None
    lacking = [place for place in held_out.places if place not in scores.comparisons]
    if lacking:
        raise WiringError(
            f"evaluation --in scores: {scores.source.path} lacks comparisons of the test split (got "
            f"{len(held_out.places) - len(lacking)} of {len(held_out.places)}). Score the whole split."
        )
    return [scores.comparisons[place] for place in held_out.places]


def likelihood_of(policy: str, scores: Sequence[Scores], held_out: HeldOut) -> Likelihood | None:
    """Log-probabilities of the comparisons under a policy, if one of the artifacts holds them."""
    for item in scores:
        rows = compared(item, held_out) if item.kind == "policy" and item.witness == policy else None
        if rows is not None:
            return Likelihood(
                chosen=[float(row["chosen"]) for row in rows],
                rejected=[float(row["rejected"]) for row in rows],
                chosen_tokens=[int(row["chosen_tokens"]) for row in rows],
                rejected_tokens=[int(row["rejected_tokens"]) for row in rows],
                unclean=sum(not row["clean"] for row in rows),
            )
    return None


def logps_of(answers: Answers, policy: str, scores: Sequence[Scores]) -> list[list[float]] | None:
    """The token log-probabilities of a system's answers under a policy, if one of the artifacts holds them all."""
    for item in scores:
        if item.kind == "policy" and item.witness == policy:
            found = item.of(answers, "logps")
            if found is not None:
                return [[float(logp) for logp in row] for row in found]
    return None
