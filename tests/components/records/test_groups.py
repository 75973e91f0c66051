"""Prompts that are one to a reader are one to the splits, and an opening that all share is none."""

from __future__ import annotations

import random
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.records import Groups, normal_key, prompt_key, shared_prompts, split_of
from components.records.groups import normal_form
from tests.components.records.samples import pair

SYSTEM = {"role": "system", "content": "Be kind."}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def dialogue(*texts: str, answer: str = "Yes?") -> list[dict[str, Any]]:
    """The user's texts with an answer between each two."""
    found = [user(texts[0])]
    for text in texts[1:]:
        found += [{"role": "assistant", "content": answer}, user(text)]
    return found


@pytest.mark.parametrize(
    "other",
    [
        unicodedata.normalize("NFD", "Où est le café?"),
        "OÙ EST LE CAFÉ?",
        "  Où est\tle\n\ncafé? ",
        "Où est le\u00a0café?",
        "\u202aOù est\u200b le café?\ufeff",
        "\uff2fù est le café?",
    ],
)
def test_what_reads_the_same_is_the_same(other: str) -> None:
    one, two = [user("Où est le café?")], [user(other)]
    assert normal_key(one) == normal_key(two)
    groups = Groups([one, two])
    assert groups.share(one) == groups.share(two)
    assert len(groups) == 1


@pytest.mark.parametrize("other", ["Ou est le café?", "Où est le café", "Où est un café?"])
def test_other_words_and_marks_are_another_prompt(other: str) -> None:
    assert normal_key([user("Où est le café?")]) != normal_key([user(other)])
    assert normal_key([user("a")]) != normal_key([SYSTEM, user("a")])


def test_the_share_of_a_plain_prompt_is_the_first_32_bits_of_its_key() -> None:
    assert Groups([]).share([user("hi")]) == int(prompt_key([user("hi")])[:8], 16) / 4294967296


def test_all_turns_of_a_dialogue_have_one_share() -> None:
    turns = [dialogue("a"), dialogue("a", "b"), dialogue("a", "b", "c"), dialogue("a", "d", answer="No.")]
    groups = Groups(turns)
    assert len({groups.share(one) for one in turns}) == len(groups) == 1
    assert groups.share([SYSTEM, *turns[0]]) == groups.share([SYSTEM, *turns[2]])


COMMON = [dialogue("Let us begin.", f"Case {i}", f"And {i % 3}") for i in range(40)]


def test_a_common_opening_does_not_put_everything_on_one_side() -> None:
    """Forty dialogues that open alike are forty groups, of which all turns from the second on stay together."""
    groups = Groups(COMMON)
    assert len(groups) == 40
    found = [split_of(groups.share(one), validation=0.2, test=0.2) for one in COMMON]
    assert min(found.count(name) for name in ("train", "validation", "test")) > 2
    assert all(groups.share(one[:3]) == groups.share(one) for one in COMMON)


def test_two_common_openings_lead_to_the_third() -> None:
    assert len(Groups([dialogue("Hi", "Ready?", f"Case {i}") for i in range(40)])) == 40


def test_an_opening_of_few_or_of_a_small_share_holds() -> None:
    assert len(Groups(COMMON[:20])) == 1
    others = [[user(f"Other {i}")] for i in range(400)]
    assert len(Groups([*COMMON, *others])) == 401


def test_neither_order_nor_repetition_matters() -> None:
    others = [[user(f"Other {i}")] for i in range(9)]
    mixed = [*COMMON, *COMMON, *others]
    random.Random(0).shuffle(mixed)
    one, two = Groups([*COMMON, *others]), Groups(mixed)
    assert [one.share(prompt) for prompt in COMMON] == [two.share(prompt) for prompt in COMMON]


def test_more_data_move_only_prompts_whose_opening_becomes_common() -> None:
    plain = [[user(f"Other {i}")] for i in range(200)]
    before, after = Groups(plain), Groups([*plain, *COMMON])
    assert [before.share(one) for one in plain] == [after.share(one) for one in plain]


def test_what_a_set_of_another_size_would_test_is_held_out_before() -> None:
    """Sampling sees 30 dialogues that open alike; curation sees them among others, where the opening is not common."""
    seen, others = COMMON[:30], [[user(f"Other {i}")] for i in range(300)]
    early, late = Groups(seen), Groups([*seen, *others])
    assert (len(early), len(late)) == (30, 301)
    for prompt in seen:
        if late.share(prompt) < 0.3 or early.share(prompt) < 0.3:
            assert early.is_held_out(prompt, 0.3)
    assert [late.is_held_out(one, 0.3) for one in others] == [late.share(one) < 0.3 for one in others]


@given(st.text(max_size=20))
def test_shares_lie_in_the_unit_interval_and_normal_forms_are_stable(text: str) -> None:
    assert 0 <= Groups([]).share([user(text)]) < 1
    assert normal_form(normal_form(text)) == normal_form(text)


def test_split_sizes_follow_the_shares() -> None:
    """4000 prompts, 10 % test: binomial, sd = sqrt(4000 * .1 * .9) = 19; 400 +- 5 sd."""
    prompts = [[user(str(i))] for i in range(4000)]
    groups = Groups(prompts)
    found = [split_of(groups.share(prompt), validation=0.1, test=0.1) for prompt in prompts]
    assert abs(found.count("test") - 400) < 95
    assert abs(found.count("validation") - 400) < 95


def test_shared_prompts_are_found_in_any_spelling() -> None:
    one, other = pair("a"), pair("a", prompt="Another?")
    assert shared_prompts({"train": [one, one], "test": [other]}) == []
    spelled = pair("a", prompt="  ANOTHER?")
    assert shared_prompts({"train": [spelled], "test": [other, one]}) == [normal_key(other)]
