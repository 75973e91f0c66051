"""What identifies a prompt, and the split it falls into."""

from __future__ import annotations

import pytest

from components.errors import RecordError
from components.records import candidate_text, messages, prompt_key, split_of
from tests.components.records.samples import pair, record

SYSTEM = {"role": "system", "content": "Be kind."}
USER = {"role": "user", "content": "Hi"}


def test_messages_come_with_the_system_text_first() -> None:
    as_field = record(
        task={
            "messages": [{"role": "user", "parts": [{"type": "text", "text": "Hi"}]}],
            "system": "Be kind.",
            "lang": "en",
        }
    )
    assert messages(as_field) == messages(record(prompt=[SYSTEM, USER])) == [SYSTEM, USER]
    assert prompt_key(as_field) == prompt_key([SYSTEM, USER])


def test_the_key_depends_on_role_and_content_only() -> None:
    assert prompt_key(pair("a")) == prompt_key(pair("b", texts=("x", "y"), annotator="other"))
    assert prompt_key([{**USER, "name": "x"}]) == prompt_key([USER])
    assert prompt_key([USER]) != prompt_key([{"role": "user", "content": "hi"}])
    assert prompt_key([USER]) != prompt_key([SYSTEM, USER])


def test_splits_take_their_shares_from_below() -> None:
    shares = [split_of(share, validation=0.1, test=0.2) for share in (0.0, 0.199, 0.2, 0.299, 0.301, 0.999)]
    assert shares == ["test", "test", "validation", "validation", "train", "train"]
    assert split_of(0.0, validation=0.0, test=0.0) == "train"


def test_media_is_refused_where_text_is_asked_for_but_still_has_a_key() -> None:
    image = record()
    image["task"]["messages"][0]["parts"].append({"type": "image", "uri": "x.png"})
    with pytest.raises(RecordError) as caught:
        messages(image)
    assert caught.value.rule == "text_only"
    assert prompt_key(image) != prompt_key(record())


def test_an_unknown_candidate_is_named() -> None:
    assert candidate_text(pair(), "b") == "Seven"
    with pytest.raises(RecordError, match=r"no candidate 'c'. Known: a, b"):
        candidate_text(pair(), "c")
