"""What the report shows of single prompts: the fixed random sample, and beside it what was selected (EVAL-37)."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from components.evaluation.showcase import Selection, disagreements, largest
from components.measures.evidence import Evidence, Testimony

SELECTED = 5
"""Prompts per selected list."""


def example(evidence: Evidence, i: int) -> dict[str, Any]:
    """Prompt `i` with every system's answer, scores and verdicts, as plain data."""
    prompt = evidence.test.prompts[i]
    answers = {}
    for name, system in evidence.systems.items():
        sample = system.samples[i]
        scores = {w.name: w.scores[name][i] for w in evidence.present if name in w.scores}
        row: dict[str, Any] = {"text": sample.completion, "tokens": len(sample.token_ids), "finish": sample.finish}
        row["scores"] = scores
        if name in evidence.log_ratios:
            row["log_ratio"] = sum(evidence.log_ratios[name][i])
        answers[name] = row
    verdicts = {f"{w.name}.vs_{opponent}": w.wins[opponent][i] for opponent, w in contests(evidence)}
    return {
        "prompt_key": prompt.key,
        "source": prompt.source,
        "messages": [dict(message) for message in prompt.messages],
        "answers": answers,
        "verdicts": verdicts,
    }


def contests(evidence: Evidence) -> list[tuple[str, Testimony]]:
    """(opponent, witness) of every comparison there is, opponent by opponent."""
    return [(opponent, w) for opponent in evidence.opponents for w in evidence.present if opponent in w.wins]


def scoring(evidence: Evidence) -> Testimony | None:
    """The model whose scores weigh examples: the first that scored the answers and can be tested on comparisons."""
    found = (w for w in evidence.present if "ranked" in w.gives)
    return next((w for w in found if "candidate" in w.scores and "reference" in w.scores), None)


def selections(evidence: Evidence) -> list[Selection]:
    """Against the reference: where witnesses disagree, where a judge flips, where the candidate loses most."""
    against = [w for w in evidence.present if "reference" in w.wins]
    lists = []
    for first, second in combinations(against, 2):
        sizes = disagreements(first.wins["reference"], second.wins["reference"])
        title, by = f"{first.label} and {second.label} disagree", _weight(evidence, sizes)
        lists.append(largest(title, f"they name different winners; largest {by}", sizes, SELECTED))
    for witness in against:
        if "reference" in witness.judged:
            flips = {i: 1.0 for i, r in enumerate(witness.judged["reference"]) if r.consistent is False}
            title = f"the {witness.label} flips with the order"
            lists.append(largest(title, "its two orders differ; first in order", flips, SELECTED))
    if weighing := scoring(evidence):
        own, other = weighing.scores["candidate"], weighing.scores["reference"]
        losses = {i: b - a for i, (a, b) in enumerate(zip(own, other, strict=True)) if a < b}
        rule = f"lowest score of the {weighing.label} for the candidate minus the reference's"
        lists.append(largest("largest losses", rule, losses, SELECTED))
    return lists


def _weight(evidence: Evidence, sizes: dict[int, float]) -> str:
    """Weigh disagreements by the score difference where there is one; says what it weighed by."""
    weighing = scoring(evidence)
    if weighing is None:
        return "difference of values"
    own, other = weighing.scores["candidate"], weighing.scores["reference"]
    for i in sizes:
        sizes[i] = abs(own[i] - other[i])
    return f"{weighing.label} score difference"
