"""Stanford Human Preferences: two comments under one post, the one with more votes preferred."""

from __future__ import annotations

from typing import Annotated, Any

from components.contract.ranges import Range
from components.records.build import make_record, simple_task, text_candidate
from components.records.importers.columns import answer, check_columns, number, refuse, text
from components.records.importers.options import Options
from components.records.importers.table import IMPORTERS
from components.records.schema import Record

_SIDES = ("A", "B")
_NEEDED = ("history", "labels", "score_ratio", "seconds_difference")
_OF_EACH = ("human_ref", "score")  # + _A and _B
_ABOUT_EACH = ("c_root_id", "created_at_utc")  # + _A and _B; they may be absent
_OPTIONAL = ("post_id", "domain", "upvote_ratio")


def _both(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{name}_{side}" for name in names for side in _SIDES)


def is_shp(row: dict[str, Any]) -> bool:
    return {"history", "human_ref_A", "human_ref_B", "score_ratio"} <= set(row)


@IMPORTERS.row(
    method=("CONV-14", "SRC-02", "SRC-23"),
    revision=2,
    source="Ethayarajh et al. 2022, the SHP files",
    columns="history, human_ref_A, human_ref_B, labels, score_A, score_B, score_ratio, seconds_difference",
    matches=is_shp,
    known=(*_NEEDED, *_both(_OF_EACH), *_OPTIONAL, *_both(_ABOUT_EACH)),
)
def shp(row: dict[str, Any], options: Options, *, ratio_cap: Annotated[float, Range(above=1)] = 10.0) -> Record:
    """SHP: the comment with more votes is preferred, if it was not posted earlier (votes gather with time).

    The strength is the ratio of the votes on the scale [0, ratio_cap]: above it, it is the cap. The votes themselves,
    the comment ids and times stay with the candidates (`generator.params`), post id and its upvote ratio as tags.
    A row that breaks the rule, or whose label or ratio is not what its votes say, is refused; so are equal votes,
    which prefer nobody. Where the comments stood on the page is not known, so there is no shown order.
    """
    check_columns(row, (*_NEEDED, *_both(_OF_EACH)), (*_OPTIONAL, *_both(_ABOUT_EACH)), options.ignore_columns)
    row = {name: value for name, value in row.items() if value is not None}
    texts = {side: answer(row, f"human_ref_{side}") for side in _SIDES}
    winner = _winner(row)
    if texts["A"] == texts["B"]:
        raise refuse("identical_candidates_tie", "human_ref_A", "and human_ref_B are the same text. Drop the row.")
    _check_time(row, winner)
    return make_record(
        task=simple_task(text(row, "history", "no_prompt"), options.lang, tags=_tags(row), **_domain(row)),
        candidates=[_comment(row, side, texts[side], options) for side in _SIDES],
        judgments=[
            {
                "type": "pairwise",
                "a": "a",
                "b": "b",
                "outcome": winner.lower(),
                "strength": min(_ratio(row, winner), ratio_cap),
                "strength_scale": [0, ratio_cap],
            }
        ],
        annotator=options.person(),
        provenance=options.provenance(),
    )


def _votes(row: dict[str, Any], side: str) -> float:
    votes = number(row, f"score_{side}")
    if votes == 0:
        raise refuse("wrong_value", f"score_{side}", "must be above 0 for a ratio of votes (got 0). Leave the row out.")
    return votes


def _winner(row: dict[str, Any]) -> str:
    """The side with more votes, which must be the one that is labelled: 1 is A, 0 is B."""
    label = row["labels"]
    if isinstance(label, bool) or label not in (0, 1):
        raise refuse("wrong_value", "labels", f"must be 1 (A) or 0 (B) (got {label!r}). Fix the row.")
    winner, loser = ("A", "B") if label == 1 else ("B", "A")
    votes = {side: _votes(row, side) for side in _SIDES}
    if votes[winner] <= votes[loser]:
        got = f"A {votes['A']:g}, B {votes['B']:g}"
        raise refuse("columns_agree", "labels", f"prefers {winner}, which has no more votes (got {got}). Drop the row.")
    return winner


def _ratio(row: dict[str, Any], winner: str) -> float:
    """Votes of the winner over those of the loser, as the file says it."""
    said = number(row, "score_ratio")
    counted = _votes(row, winner) / _votes(row, "B" if winner == "A" else "A")
    if abs(said - counted) > 1e-3 * counted:
        raise refuse("columns_agree", "score_ratio", f"is not that of the scores, {counted:g} (got {said:g}). Fix it.")
    return said


def _check_time(row: dict[str, Any], winner: str) -> None:
    """SRC-23: an earlier comment has had longer to gather votes, so that more of them prefer nothing."""
    seconds = row["seconds_difference"]
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise refuse("wrong_type", "seconds_difference", f"must be a number (got {seconds!r}). Fix the row.")
    if all(name in row for name in _both(("created_at_utc",))):
        loser = "B" if winner == "A" else "A"
        later = number(row, f"created_at_utc_{winner}") - number(row, f"created_at_utc_{loser}")
        if later != seconds:
            raise refuse(
                "columns_agree", "seconds_difference", f"is not that of the times, {later:g} (got {seconds}). Fix it."
            )
    if seconds < 0:
        raise refuse("time_order", "seconds_difference", f"has the winner posted first (got {seconds}). Drop the row.")


def _tags(row: dict[str, Any]) -> list[str]:
    said = [f"post:{text(row, 'post_id')}"] if "post_id" in row else []
    return said + ([f"upvote_ratio:{number(row, 'upvote_ratio'):g}"] if "upvote_ratio" in row else [])


def _domain(row: dict[str, Any]) -> dict[str, str]:
    return {"domain": text(row, "domain")} if "domain" in row else {}


def _comment(row: dict[str, Any], side: str, said: str, options: Options) -> dict[str, Any]:
    about = {name: row[f"{name}_{side}"] for name in ("score", *_ABOUT_EACH) if f"{name}_{side}" in row}
    generator = {"name": options.generator, "revision": options.generator_revision}
    return text_candidate(side.lower(), said, kind="human", params=about, **generator)
