"""Plain sentences about the numbers: the verdict of each comparison, and what to check before trusting it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

from components.evaluation.words import write
from components.measures.evidence import Evidence
from components.measures.take import Results
from components.statistics import ENOUGH, Estimate

BETTER, WORSE, UNCLEAR, NONE = "better", "worse", "no clear difference", "no verdict"


@dataclass(frozen=True)
class Finding:
    """level: `warn` (a reason for doubt) or `note` (good to know)."""

    level: str
    text: str


def verdict(row: Estimate | None) -> str:
    """What an interval against 0.5 says."""
    if row is None or row["ci_low"] is None or row["ci_high"] is None or row["n"] < ENOUGH:
        return NONE
    return BETTER if row["ci_low"] > 0.5 else WORSE if row["ci_high"] < 0.5 else UNCLEAR


def detectable(n: int) -> float:
    """The smallest distance from 0.5 that n prompts without ties show in 80% of cases at the 5% level (EVAL-38 g)."""
    return (1.959964 + 0.841621) * 0.5 / sqrt(n)


def findings(evidence: Evidence, results: Results) -> list[Finding]:
    """Warnings first."""
    checks = (_contamination, _outside, _length, _disagreement, _baselines, _answers, _size, _tokens, _witnesses)
    found = [finding for check in checks for finding in check(evidence, results)]
    return sorted(found, key=lambda finding: finding.level != "warn")


def _outside(evidence: Evidence, results: Results) -> Iterator[Finding]:
    """Numbers outside the range that their measure calls sound, of the candidate and of witnesses."""
    for name, taken in results.taken.items():
        if "warn" not in taken.row.facts or name not in results.metrics or taken.place.system not in ("", "candidate"):
            continue
        low, high, sentence = taken.row.facts["warn"]
        value = results.metrics[name]["value"]
        if (low is not None and value < low) or (high is not None and value > high):
            shown = write(value, taken.row.facts["format"])
            yield Finding("warn", _sentence(taken.place.words(sentence).format(value=shown)))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def _contamination(evidence: Evidence, results: Results) -> Iterator[Finding]:
    leaked, overlapping = sum(evidence.test.leaked), sum(evidence.test.overlapping)
    if leaked:
        yield Finding("warn", f"{leaked} of {evidence.test.available} test prompts also stand in the train split.")
    if overlapping:
        share = f"{overlapping} of {evidence.test.available}"
        yield Finding("warn", f"{share} test prompts share 13 words in a row with a train prompt.")


def _length(evidence: Evidence, results: Results) -> Iterator[Finding]:
    """A preference that is gone, or cannot be told, once longer and shorter answers count equally."""
    for name, taken in results.at("win_rate_length_balanced"):
        where = {"witness": taken.place.witness, "opponent": taken.place.opponent}
        who, opponent = taken.place.label, taken.place.opponent
        if verdict(results.value("win_rate", **where)) != BETTER:
            continue
        if name in results.missing:
            yield Finding("note", f"No length-balanced win rate ({who}, {opponent}): {results.missing[name]}.")
        elif verdict(results.metrics[name]) != BETTER:
            yield Finding(
                "warn",
                f"Length may explain the {who}'s preference over the {opponent}: with longer and shorter answers "
                f"counted equally its win rate is {results.metrics[name]['value']:.1%}, an interval that reaches 50%.",
            )


def _disagreement(evidence: Evidence, results: Results) -> Iterator[Finding]:
    """A gain that only one scoring model sees may be its own mistake, learned by the policy (EVAL-21)."""
    for opponent in evidence.opponents:
        heard = [w for w in evidence.present if opponent in w.wins]
        said = [(w, verdict(results.value("win_rate", witness=w.name, opponent=opponent))) for w in heard]
        for witness, what in said:
            others = [w.label for w, other in said if w is not witness and other != BETTER]
            if witness.ranked is None or what != BETTER or not others:
                continue
            names = " and ".join(f"the {label}" for label in others)
            yield Finding(
                "warn",
                f"The {witness.label} prefers the candidate to the {opponent}, {names} "
                f"{'does' if len(others) == 1 else 'do'} not clearly: its score may be over-optimized.",
            )


def _baselines(evidence: Evidence, results: Results) -> Iterator[Finding]:
    """A witness that ranks no better than a rule without understanding."""
    simple = [
        (taken.row.facts["baseline"], results.metrics[name]["value"])
        for name, taken in results.taken.items()
        if "baseline" in taken.row.facts and name in results.metrics
    ]
    for name, taken in results.at("accuracy"):
        own = results.metrics.get(name)
        for label, baseline in simple if own else ():
            if own is not None and own["ci_low"] is not None and own["ci_low"] <= baseline:
                yield Finding(
                    "warn",
                    f"The {taken.place.label} ({own['value']:.1%}) is not clearly better than {label} "
                    f"({baseline:.1%}).",
                )


def _answers(evidence: Evidence, results: Results) -> Iterator[Finding]:
    same = results.value("identical_to_reference", system="candidate")
    if same is not None and same["value"] > 0.2:
        yield Finding(
            "note", f"Candidate and reference give the same text on {same['value']:.1%} of the prompts: ties."
        )
    if evidence.systems["candidate"].policy == evidence.systems["reference"].policy:
        yield Finding("note", "Candidate and reference are the same policy.")


def _witnesses(evidence: Evidence, results: Results) -> Iterator[Finding]:
    for witness in evidence.witnesses:
        yield from (Finding("warn", sentence) for sentence in witness.warnings)


def _size(evidence: Evidence, results: Results) -> Iterator[Finding]:
    n = len(evidence.test.prompts)
    level = "warn" if n < 100 else "note"
    yield Finding(
        level,
        f"With {n} prompts, a win rate {100 * detectable(n):.1f} points from 50% is seen in 4 of 5 evaluations.",
    )


def _tokens(evidence: Evidence, results: Results) -> Iterator[Finding]:
    for name, likelihood in evidence.likelihoods.items():
        if likelihood.unclean:
            yield Finding(
                "warn",
                f"{likelihood.unclean} of the test comparisons hold a completion that does not continue its prompt's "
                f"tokens under the {name}'s tokenizer; it was tokenized by itself.",
            )
