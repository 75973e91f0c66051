"""The small world: prompts can be read back, the truth reads the text, faults cost what they should."""

import itertools

import numpy as np
import pytest

from components.errors import ParamsError, RecordError
from components.simulation import vocabulary
from components.simulation.gold import TERMS, gold_terms, gold_utility
from components.simulation.instructions import parse, prompts
from components.simulation.writer import write

PROMPTS = prompts(1500, seed=3)


def test_every_word_belongs_to_one_category() -> None:
    """No word is in two categories, so that every statement about membership is true or false."""
    assert len(vocabulary.WORDS) == 144
    assert not set(vocabulary.WORDS) & vocabulary.GLUE


def test_prompts_are_distinct_reproducible_and_nested() -> None:
    """The first k of n prompts are the k prompts of the same seed; another seed gives others."""
    assert len(set(PROMPTS)) == 1500
    assert prompts(200, seed=3) == PROMPTS[:200]
    assert prompts(200, seed=4) != PROMPTS[:200]


def test_more_prompts_than_there_are_is_an_error() -> None:
    with pytest.raises(ParamsError, match="no more than"):
        prompts(10**6, seed=0)


def test_every_prompt_is_read_back() -> None:
    """`parse` recovers kind, category, count, avoided word and manner from the phrasing."""
    for prompt in PROMPTS:
        instruction = parse(prompt)
        assert instruction is not None, prompt
        assert instruction.avoid in prompt
        assert instruction.word in prompt
        assert instruction.kind == "kind" or instruction.category in prompt
    found = parse("Tell me four birds other than owl, please. Use a full sentence.")
    assert found is not None
    assert (found.kind, found.category, found.count, found.avoid, found.manner) == (
        "list",
        "bird",
        4,
        "owl",
        "sentence",
    )


@pytest.mark.parametrize(
    "text", ["", "Write a poem.", "Name 3 planets.", "Name 9 birds.", "Is mars a bird?", "What is mars?"]
)
def test_foreign_prompts_have_no_truth(text: str) -> None:
    """The truth refuses prompts of another world instead of guessing."""
    assert parse(text) is None
    with pytest.raises(RecordError, match="small world"):
        gold_utility(text, "apple.")


def test_a_faultless_writer_has_the_highest_utility() -> None:
    """Quality 1 gives 3 for every prompt: content 1 and no penalty; the truth and the writer agree on the rules."""
    rng = np.random.default_rng(0)
    assert {gold_utility(prompt, write(prompt, rng, 1.0)) for prompt in PROMPTS} == {3.0}


def test_utility_falls_with_quality() -> None:
    rng = np.random.default_rng(0)
    means = [np.mean([gold_utility(p, write(p, rng, q)) for p in PROMPTS]) for q in (0.0, 0.3, 0.6, 0.9)]
    assert all(low + 0.5 < high for low, high in itertools.pairwise(means))


LIST = "Name 3 fruits, but not apple."


@pytest.mark.parametrize(
    ("prompt", "completion", "utility"),
    [
        (LIST, "pear, plum, fig.", 3.0),
        (LIST, "pear, plum.", 3 * 2 / 3),
        (LIST, "pear, plum, owl.", 3 * 2 / 3 - 0.75),
        (LIST, "pear, plum, plum.", 3 * 2 / 3 - 0.75),
        (LIST, "pear, plum, fig, kiwi.", 3 - 0.75),
        (LIST, "pear, plum, apple.", 3 * 2 / 3 - 1.5),
        (LIST, "pear, plum, fig", 3 - 0.75),
        (LIST, "Good question. pear, plum, fig.", 3 - 0.75),
        (LIST, "pear, plum, fig. Anyone would know that.", 3 - 1.5),
        (LIST, "pear, plum, fig, xyzzy.", 3 - 3 / 4),
        (LIST, "", -0.75 - 3),
        (LIST, "qq ww ee", -0.75 - 3),
        (LIST + " Use a full sentence.", "pear, plum, fig.", 3 - 0.75),
        (LIST + " Only the words.", "You could say pear, plum and fig.", 3 - 0.75),
        ("Is tin a bird?", "No, tin is a metal.", 3.0),
        ("Is tin a bird?", "No.", 3 * 0.7),
        ("Is tin a bird?", "No, tin is not a bird.", 3 * 0.7),
        ("Is tin a bird?", "Yes, tin is a bird.", -1.5),
        ("Is tin a bird? Just yes or no.", "No.", 3.0),
        ("Is tin a bird? Just yes or no.", "No, tin is a metal.", 3 - 0.75),
        ("What is owl?", "bird.", 3.0),
        ("What is owl?", "owl is a bird.", 3.0),
        ("What is owl?", "owl is a metal.", -0.75),
        ("What is owl? Use a full sentence.", "bird.", 3 - 0.75),
        ("What is owl?", "owl is a bird and a tool.", 3 - 0.75),
        ("What is owl?", "saw is a bird.", 3 - 0.75),
    ],
)
def test_utility_by_hand(prompt: str, completion: str, utility: float) -> None:
    """utility = 3 content - 0.75 per mistake - 1.5 forbidden ... as documented in TERMS, worked out by hand."""
    assert gold_utility(prompt, completion) == pytest.approx(utility)


def test_terms_cover_the_weights() -> None:
    assert gold_terms(LIST, "pear.").keys() == TERMS.keys()


def test_length_is_not_quality() -> None:
    """Preferring the longer (or the shorter) of two answers agrees with the truth in 42 to 58 % of decided pairs."""
    rng, agree = np.random.default_rng(1), []
    for prompt in PROMPTS * 2:
        a, b = (write(prompt, rng, rng.uniform(0.2, 1.0)) for _ in range(2))
        gap, longer = gold_utility(prompt, a) - gold_utility(prompt, b), len(a.split()) - len(b.split())
        if gap:
            agree.append(0.5 if longer == 0 else float((gap > 0) == (longer > 0)))
    assert 0.42 < np.mean(agree) < 0.58


def test_quality_is_a_share() -> None:
    with pytest.raises(ParamsError, match="quality"):
        write(LIST, np.random.default_rng(0), 1.5)
