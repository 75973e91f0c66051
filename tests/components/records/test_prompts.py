"""What identifies a prompt, and the split it falls into."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.errors import RecordError
from components.records import (
    candidate_text,
    first_turn,
    messages,
    prompt_key,
    prompt_share,
    shared_prompts,
    split_of,
)
from tests.components.records.samples import pair, record

SYSTEM = {"role": "system", "content": "Be kind."}
USER = {"role": "user", "content": "Hi"}
DIALOGUE = [SYSTEM, USER, {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "More"}]


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


def test_the_share_is_the_first_32_bits_of_the_key() -> None:
    key = prompt_key([USER])
    assert prompt_share([USER]) == int(key[:8], 16) / 4294967296


def test_all_turns_of_a_dialogue_have_one_share() -> None:
    assert prompt_share(DIALOGUE) == prompt_share(DIALOGUE[:2]) != prompt_share(DIALOGUE[1:])
    assert prompt_key(DIALOGUE) != prompt_key(DIALOGUE[:2])


@given(st.text(max_size=20))
def test_shares_lie_in_the_unit_interval(text: str) -> None:
    assert 0 <= prompt_share([{"role": "user", "content": text}]) < 1


def test_splits_take_their_shares_from_below() -> None:
    shares = [split_of(share, validation=0.1, test=0.2) for share in (0.0, 0.199, 0.2, 0.299, 0.301, 0.999)]
    assert shares == ["test", "test", "validation", "validation", "train", "train"]
    assert split_of(0.0, validation=0.0, test=0.0) == "train"


def test_split_sizes_follow_the_shares() -> None:
    """4000 prompts, 10 % test: binomial, sd = sqrt(4000 * .1 * .9) = 19; 400 +- 5 sd."""
    found = [
        split_of(prompt_share([{"role": "user", "content": str(i)}]), validation=0.1, test=0.1) for i in range(4000)
    ]
    assert abs(found.count("test") - 400) < 95
    assert abs(found.count("validation") - 400) < 95


def test_the_first_turn_is_the_same_for_all_turns_of_a_dialogue() -> None:
    assert first_turn(DIALOGUE) == first_turn(DIALOGUE[:2]) == [SYSTEM, USER]
    assert first_turn([SYSTEM]) == [SYSTEM]


def test_shared_prompts_are_found() -> None:
    one, other = pair("a"), pair("a", prompt="Another?")
    assert shared_prompts({"train": [one, one], "test": [other]}) == []
    assert shared_prompts({"train": [one], "test": [other, one]}) == [prompt_key(one)]


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
