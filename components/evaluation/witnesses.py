"""Who says which answer is better: the reward model, the judge, the known truth. One reader each, from what was given.

A further witness is one more reader here: metrics, cards, plots, findings and headlines follow from what it `gives`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from components.errors import ArtifactError, WiringError
from components.evaluation.params import Params
from components.evaluation.scores import Row, Scores, compared
from components.evaluation.testset import HeldOut
from components.evaluation.verdicts import Verdicts
from components.judges.served import is_another
from components.measures.evidence import Answers, Ranked, Testimony, Values
from components.preference_models.witness import Text, TextPair
from components.simulation.truth import KnownTruth

Item = TypeVar("Item")


@dataclass(frozen=True)
class Given:
    """What a reader may look at."""

    held_out: HeldOut
    systems: Mapping[str, Answers]
    scores: Sequence[Scores]
    verdicts: Sequence[Verdicts]
    params: Params

    @property
    def opponents(self) -> list[Answers]:
        return [answers for name, answers in self.systems.items() if name != "candidate"]


def reward_model(given: Given) -> Testimony:
    """The preference model among the scores; a win is a preference above one half."""
    empty = Testimony("reward_model", "reward model", ("wins", "side_scores", "scores", "ranked"))
    found = [scores for scores in given.scores if scores.kind == "preference_model"]
    if not found:
        return replace(empty, missing="no scores of a preference model were given")
    if len(found) > 1:
        raise WiringError(
            f"evaluation --in scores: two preference models scored the answers (got {found[0].witness} and "
            f"{found[1].witness}). Pass the scores of one, or of an ensemble of both."
        )
    scores = found[0]
    own = {name: scores.of(answers, "score") for name, answers in given.systems.items()}
    wins = {answers.name: _preferred(scores, given, answers) for answers in given.opponents}
    rows = compared(scores, given.held_out)
    return replace(empty, wins=_there(wins), scores=_there(own), ranked=None if rows is None else _ranked(rows, scores))


def _there(found: Mapping[str, Item | None]) -> dict[str, Item]:
    return {name: item for name, item in found.items() if item is not None}


def _preferred(scores: Scores, given: Given, opponent: Answers) -> Values | None:
    candidate = given.systems["candidate"]
    p = [scores.pairs.get((candidate.id, opponent.id, sample.prompt_key)) for sample in candidate.samples]
    if all(value is None for value in p):
        return None
    return [None if value is None else _vote(value) for value in p]


def _vote(p: float) -> float:
    """A preference as a win, a loss or a tie."""
    return 1.0 if p > 0.5 else 0.0 if p < 0.5 else 0.5


def _ranked(rows: Sequence[Row], scores: Scores) -> Ranked:
    """Margins: differences of scores, or the log-odds of a model that only compares."""
    margins = []
    for row in rows:
        if row["chosen"] is not None and row["rejected"] is not None:
            margins.append(float(row["chosen"]) - float(row["rejected"]))
        elif row["p"] is not None:
            margins.append(_log_odds(float(row["p"])))
        else:
            raise ArtifactError(
                f"{scores.source.path}/scores.jsonl: comparison {row['index']} has neither scores nor p. Rerun scoring."
            )
    return Ranked(margins)


def _log_odds(p: float) -> float:
    inside = min(max(p, 1e-15), 1 - 1e-15)  # certainty has no finite log-odds: 34.5 is the largest
    return math.log(inside / (1 - inside))


def judge(given: Given) -> Testimony:
    """The judge's verdicts in both orders, combined by the rule."""
    gives = ("wins", "judged")
    if not given.verdicts:
        return Testimony("judge", "judge", gives, missing="no verdicts of a judge were given")
    candidate = given.systems["candidate"]
    results = {item.opponent: item.results(candidate, given.params.rule) for item in given.verdicts}
    ordered = {name: results[name] for name in given.systems if name in results}
    wins = {name: [result.p_a for result in found] for name, found in ordered.items()}
    return Testimony("judge", "judge", gives, wins, judged=ordered, warnings=_other_judges(given.verdicts))


def _other_judges(verdicts: Sequence[Verdicts]) -> list[str]:
    """A sentence for each model that answered in the name of another."""
    pairs = {(item.judge["id"], served) for item in verdicts for served in item.judge.get("served_models", ())}
    return [
        f"Asked was the judge {asked}; some verdicts are those of {served}, as the endpoint says."
        for asked, served in sorted(pairs)
        if is_another(asked, served)
    ]


def gold(given: Given) -> Testimony | None:
    """The known truth of the simulated world; nothing unless it is asked for.

    Raises RecordError if a prompt is not of that world.
    """
    if not given.params.gold:
        return None
    truth, asked = KnownTruth(), [prompt.messages for prompt in given.held_out.test.prompts]
    texts = {name: answers.texts for name, answers in given.systems.items()}
    scores = {name: truth.score([Text(*each) for each in zip(asked, texts[name], strict=True)]) for name in texts}
    wins = {
        answers.name: truth.compare(
            [TextPair(*each) for each in zip(asked, texts["candidate"], answers.texts, strict=True)]
        )
        for answers in given.opponents
    }
    return Testimony("gold", "known truth", ("wins", "side_scores", "scores"), wins, scores)


READERS: tuple[Callable[[Given], Testimony | None], ...] = (reward_model, judge, gold)


def hear(given: Given) -> list[Testimony]:
    """What every witness said, in the order of READERS."""
    return [testimony for read in READERS if (testimony := read(given)) is not None]
