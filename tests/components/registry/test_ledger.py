"""The promotion ledger by itself: what the chain finds, and where the aliases must point."""

from __future__ import annotations

import json

import pytest

from components.errors import ArtifactError, ParamsError
from components.registry.ledger import CHALLENGER, CHAMPION, Entry, aliases, champions, following, read


def build(*moves: tuple[str, str, int, int]) -> list[Entry]:
    """Entries from (action, alias, before, after)."""
    entries: list[Entry] = []
    for action, *move in moves:
        entries.append(following(entries, action, tuple(move), by="me", reason="why", time="2026-01-01"))  # type: ignore[arg-type]
    return entries


def tags(entries: list[Entry]) -> dict[str, str]:
    return {entry.key: entry.to_json() for entry in entries}


PROMOTIONS = build(
    ("promote", CHALLENGER, 0, 1), ("promote", CHAMPION, 0, 1), ("promote", CHAMPION, 1, 2), ("promote", CHAMPION, 2, 3)
)


def test_what_is_written_is_read_back_in_order_among_other_tags() -> None:
    assert read({"owner": "us", **dict(reversed(tags(PROMOTIONS).items()))}, "m") == PROMOTIONS


def test_entries_use_the_words_of_the_ledger() -> None:
    raw = json.loads(PROMOTIONS[2].to_json())
    assert raw["seq"] == 3
    assert (raw["action"], raw["alias"], raw["from"], raw["to"]) == ("promote", "champion", 1, 2)
    assert {"by", "reason", "time", "previous_hash"} < set(raw)
    assert PROMOTIONS[2].key == "ledger.000003"
    assert PROMOTIONS[2].previous_hash == PROMOTIONS[1].hash


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_missing_entry_is_named(gone: int) -> None:
    left = tags([entry for i, entry in enumerate(PROMOTIONS) if i != gone])
    with pytest.raises(ArtifactError, match=f"ledger entry {gone + 1} is missing"):
        read(left, "m")


@pytest.mark.parametrize("field", ["reason", "by", "to", "time"])
def test_an_edited_entry_breaks_the_chain(field: str) -> None:
    edited = tags(PROMOTIONS)
    raw = json.loads(edited["ledger.000002"])
    edited["ledger.000002"] = json.dumps({**raw, field: 7 if field == "to" else "other"})
    with pytest.raises(ArtifactError, match="entry 3 does not follow from entry 2"):
        read(edited, "m")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"seq": 1}', "not json"])
def test_a_tag_that_is_no_entry_is_named(text: str) -> None:
    with pytest.raises(ArtifactError, match=r"ledger\.000001 is not a ledger entry"):
        read({"ledger.000001": text}, "m")


def test_an_entry_under_another_number_is_refused() -> None:
    with pytest.raises(ArtifactError, match=r"ledger\.000001 holds what preflow does not write"):
        read({"ledger.000001": PROMOTIONS[1].to_json()}, "m")


def test_an_unknown_action_is_refused() -> None:
    entry = Entry(1, "delete", CHAMPION, 0, 1, "me", "why", "now", "0" * 64)  # type: ignore[arg-type]
    with pytest.raises(ArtifactError):
        read({entry.key: entry.to_json()}, "m")


def test_aliases_follow_moves_only_and_a_champion_is_no_challenger() -> None:
    assert aliases(PROMOTIONS[:1]) == {CHALLENGER: 1}
    assert aliases(PROMOTIONS[:2]) == {CHAMPION: 1}
    waiting = build(("promote", CHAMPION, 0, 1), ("promote", CHALLENGER, 0, 2), ("keep", CHAMPION, 1, 2))
    assert aliases(waiting) == {CHAMPION: 1, CHALLENGER: 2}
    assert aliases(build(("promote", CHAMPION, 0, 1), ("refuse", CHAMPION, 1, 2))) == {CHAMPION: 1}


def test_two_rollbacks_go_back_two_steps_and_a_promotion_goes_on_from_there() -> None:
    # 1, 2, 3 promoted; back to 2; back to 1; 4 promoted: champions so far [1, 4]
    entries = build(
        ("promote", CHAMPION, 0, 1),
        ("promote", CHAMPION, 1, 2),
        ("promote", CHAMPION, 2, 3),
        ("rollback", CHAMPION, 3, 2),
        ("rollback", CHAMPION, 2, 1),
        ("promote", CHAMPION, 1, 4),
    )
    assert [champions(entries[:n]) for n in range(1, 7)] == [[1], [1, 2], [1, 2, 3], [1, 2], [1], [1, 4]]


def test_a_champion_made_elsewhere_is_what_a_rollback_goes_back_to() -> None:
    assert champions(build(("promote", CHAMPION, 5, 6))) == [5, 6]


@pytest.mark.parametrize(("reason", "message"), [("  ", "must not be empty"), ("x" * 1001, "at most 1000")])
def test_a_reason_is_required_and_never_cut(reason: str, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        following([], "promote", (CHAMPION, 0, 1), by="me", reason=reason, time="now")


def test_the_largest_entry_fits_the_tag_column_even_of_four_byte_characters() -> None:
    entry = following([], "promote", (CHAMPION, 0, 1), by="me", reason="𝕏" * 1000, time="now")
    assert len(entry.to_json().encode("utf-8")) < 5000
