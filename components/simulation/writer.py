"""People of the small world who answer prompts, some carefully and some not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from components.errors import ParamsError
from components.simulation.instructions import Instruction, understand
from components.simulation.vocabulary import (
    CATEGORIES,
    CATEGORY_OF,
    CLOSINGS,
    INSULTS,
    NUMBERS,
    OPENINGS,
    WORDS,
    article,
    plural,
)

# The chance of each fault for a writer of quality 0; a writer of quality q has (1 - q) times that. Faults that
# lengthen an answer and faults that shorten it balance, so that length tells little about quality.
FAULTS: dict[str, float] = {
    "wrong": 0.4,  # list: a word of another category; verdict, kind: the wrong answer
    "missing": 0.9,  # list: one or two words too few; verdict: no explanation
    "excess": 0.3,  # list: one or two words too many; kind: a second category
    "repeated": 0.25,  # list: one word named twice
    "forbidden": 0.5,  # list: the word that was ruled out
    "manner": 0.6,  # the form that was asked for is ignored
    "opening": 0.25,
    "closing": 0.15,
    "insult": 0.25,
    "unfinished": 0.6,  # the last word is missing
}
Has = Callable[[str], bool]


def _pick_word(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[int(rng.integers(len(words)))]


def _joined(words: list[str], last: str) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + f" {last} {words[-1]}"


def _list_words(instruction: Instruction, has: Has, rng: np.random.Generator) -> list[str]:
    allowed = [word for word in CATEGORIES[instruction.category] if word != instruction.avoid]
    count = instruction.count
    if has("missing"):
        count = max(1, count - int(rng.integers(1, 3)))
    elif has("excess"):
        count += int(rng.integers(1, 3))
    words = [allowed[int(i)] for i in rng.permutation(len(allowed))[:count]]
    if has("wrong"):
        words[int(rng.integers(len(words)))] = _pick_word(rng, WORDS)
    if has("repeated") and len(words) > 1:
        words[-1] = words[0]
    if has("forbidden") and instruction.avoid:
        words[int(rng.integers(len(words)))] = instruction.avoid
    return words


def _list(instruction: Instruction, has: Has, sentence: bool, rng: np.random.Generator) -> str:
    words = _list_words(instruction, has, rng)
    if not sentence:
        return ", ".join(words) + "."
    if rng.random() < 0.5:
        return f"You could say {_joined(words, 'and')}."
    return f"{NUMBERS[instruction.count].capitalize()} {plural(instruction.category)} are {_joined(words, 'and')}."


def _verdict(instruction: Instruction, has: Has, sentence: bool, rng: np.random.Generator) -> str:
    truth = CATEGORY_OF[instruction.word]
    if has("wrong"):
        others = tuple(name for name in CATEGORIES if name != truth)
        truth = _pick_word(rng, others) if truth == instruction.category else instruction.category
    verdict = "Yes" if truth == instruction.category else "No"
    if not sentence or (instruction.manner == "" and has("missing")):
        return f"{verdict}."
    return f"{verdict}, {instruction.word} is {article(truth)} {truth}."


def _kind(instruction: Instruction, has: Has, sentence: bool, rng: np.random.Generator) -> str:
    others = tuple(name for name in CATEGORIES if name != instruction.category)
    names = [_pick_word(rng, others) if has("wrong") else instruction.category]
    if has("excess"):
        names.append(_pick_word(rng, tuple(name for name in CATEGORIES if name not in names)))
    if sentence:
        return f"{instruction.word} is " + _joined([f"{article(name)} {name}" for name in names], "and") + "."
    return _joined(names, "and") + "."


def write(prompt: str, rng: np.random.Generator, quality: float) -> str:
    """An answer by a writer of `quality` in [0, 1]: 1 is faultless, 0 has every fault at its full rate.

    Raises ParamsError for a quality outside [0, 1], RecordError for a prompt that is not of this world.
    """
    if not 0.0 <= quality <= 1.0:
        raise ParamsError(f"simulation.write: quality must be in [0, 1] (got {quality}). Pass a share.")
    instruction = understand(prompt)
    faults = {name for name, rate in FAULTS.items() if rng.random() < (1.0 - quality) * rate}
    has = faults.__contains__
    sentence = {"words": False, "brief": False, "sentence": True}.get(instruction.manner)
    if sentence is None:
        sentence = instruction.kind == "verdict" or rng.random() < 0.5
    elif has("manner"):
        sentence = not sentence
    answers = {"list": _list, "verdict": _verdict, "kind": _kind}
    text = answers[instruction.kind](instruction, has, sentence, rng)
    if has("unfinished"):
        text = text.removesuffix(".").rpartition(" ")[0].removesuffix(",") or text.removesuffix(".")
    pieces = [text]
    if has("opening"):
        pieces.insert(0, _pick_word(rng, OPENINGS))
    if has("insult"):
        pieces.append(_pick_word(rng, INSULTS))
    if has("closing"):
        pieces.append(_pick_word(rng, CLOSINGS))
    return " ".join(pieces)
