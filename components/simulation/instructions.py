"""The instructions of the small world: what can be asked, how it is phrased, and how a phrasing is read back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from components.errors import ParamsError, RecordError
from components.simulation.vocabulary import CATEGORIES, CATEGORY_OF, NUMBERS, WORDS, article, plural

MAX_PROMPTS = 20_000  # a third of all there are: beyond that drawing distinct ones takes long
_AVOID = ("", ", but not {avoid}", " other than {avoid}")
_LIST = (
    "Name {count} {plural}{without}.",
    "List {count} {plural}{without}.",
    "Please give me {count} {plural}{without}.",
    "I need {count} {plural}{without}.",
    "Tell me {count} {plural}{without}, please.",
    "Can you think of {count} {plural}{without}?",
)
_VERDICT = (
    "Is {word} {a} {category}?",
    "Would you call {word} {a} {category}?",
    "Can you tell me whether {word} is {a} {category}?",
    "Please check: is {word} {a} {category}?",
)
_KIND = (
    "What is {word}?",
    "What kind of thing is {word}?",
    "Tell me what {word} is.",
    "Please say what kind of thing {word} is.",
    "Do you know what {word} is?",
)
_MANNER = {"": "", "words": " Only the words.", "sentence": " Use a full sentence.", "brief": " Just yes or no."}
_MANNERS_OF = {
    "list": ("", "", "words", "sentence"),
    "verdict": ("", "", "", "brief"),
    "kind": ("", "", "words", "sentence"),
}


@dataclass(frozen=True)
class Instruction:
    """What a prompt asks for. Fields that a kind does not use are empty."""

    kind: str
    """list, verdict or kind"""
    category: str
    """list, verdict: the category in the prompt; kind: the word's category, which is the answer"""
    count: int = 0
    """list: how many words"""
    avoid: str = ""
    """list: a word that must not be named"""
    word: str = ""
    """verdict, kind: the word in question"""
    manner: str = ""
    """words (no sentence), sentence, brief (yes or no), or empty: free"""


def _choose(rng: np.random.Generator, items: tuple[str, ...]) -> str:
    return items[int(rng.integers(len(items)))]


def _other(rng: np.random.Generator, category: str) -> str:
    """A word of any other category."""
    return _choose(rng, tuple(word for word in WORDS if CATEGORY_OF[word] != category))


def _draw(rng: np.random.Generator) -> tuple[Instruction, str]:
    """One random instruction and a phrasing of it."""
    kind = ("list", "verdict", "kind")[int(rng.choice(3, p=[0.55, 0.2, 0.25]))]
    category = _choose(rng, tuple(CATEGORIES))
    words = CATEGORIES[category]
    manner = _choose(rng, _MANNERS_OF[kind])
    if kind == "list":
        without = _choose(rng, _AVOID)
        avoid = _choose(rng, words) if without else ""
        instruction = Instruction(kind, category, count=int(rng.integers(2, 6)), avoid=avoid, manner=manner)
        return instruction, _render(_choose(rng, _LIST).replace("{without}", without), instruction, rng.random() < 0.5)
    if kind == "verdict":
        word = _choose(rng, words) if rng.random() < 0.5 else _other(rng, category)
        instruction = Instruction(kind, category, word=word, manner=manner)
        return instruction, _render(_choose(rng, _VERDICT), instruction)
    instruction = Instruction(kind, category, word=_choose(rng, words), manner=manner)
    return instruction, _render(_choose(rng, _KIND), instruction)


def _render(template: str, instruction: Instruction, digits: bool = False) -> str:
    count = str(instruction.count) if digits else NUMBERS.get(instruction.count, "")
    text = template.format(
        a=article(instruction.category),
        category=instruction.category,
        plural=plural(instruction.category),
        avoid=instruction.avoid,
        word=instruction.word,
        count=count,
    )
    return text + _MANNER[instruction.manner]


def prompts(n: int, seed: int) -> list[str]:
    """`n` distinct prompts; the first k of `prompts(n, seed)` are `prompts(k, seed)`.

    Raises ParamsError for more than MAX_PROMPTS.
    """
    if n > MAX_PROMPTS:
        raise ParamsError(f"prompts: the small world has no more than {MAX_PROMPTS} prompts (got {n}). Ask for fewer.")
    rng, seen = np.random.default_rng([seed, 1]), dict[str, None]()
    while len(seen) < n:
        seen.setdefault(_draw(rng)[1])
    return list(seen)


def _pattern(template: str) -> re.Pattern[str]:
    """The regular expression that reads a phrasing back."""
    groups = {
        "a": "an?",
        "category": "(?P<category>[a-z]+)",
        "plural": "(?P<category>[a-z]+)s",
        "count": "(?P<count>[a-z]+|[0-9])",
        "without": "(?:(?:, but not| other than) (?P<avoid>[a-z]+))?",
        "word": "(?P<word>[a-z]+)",
    }
    pieces = re.split(r"\{(\w+)\}", template)
    body = "".join(groups[piece] if i % 2 else re.escape(piece) for i, piece in enumerate(pieces))
    manners = "|".join(re.escape(text) for text in _MANNER.values())
    return re.compile(f"{body}(?P<manner>{manners})")


_PATTERNS = [
    (kind, _pattern(template))
    for kind, templates in (("list", _LIST), ("verdict", _VERDICT), ("kind", _KIND))
    for template in templates
]
_COUNT = {text: number for number, name in NUMBERS.items() for text in (name, str(number))}


def _instruction(kind: str, found: dict[str, str]) -> Instruction | None:
    """An instruction if the words in it are words of this world, else None."""
    manner = next(name for name, text in _MANNER.items() if text == found["manner"])
    word, avoid = found.get("word") or "", found.get("avoid") or ""
    category = CATEGORY_OF.get(word, "") if kind == "kind" else found["category"]
    if category not in CATEGORIES or any(name not in CATEGORY_OF for name in (word, avoid) if name):
        return None
    if kind == "list" and found["count"] not in _COUNT:
        return None
    return Instruction(kind, category, _COUNT[found["count"]] if kind == "list" else 0, avoid, word, manner)


@lru_cache(maxsize=1 << 16)
def parse(prompt: str) -> Instruction | None:
    """What a prompt asks for, or None if it is not a prompt of this world."""
    for kind, pattern in _PATTERNS:
        if (match := pattern.fullmatch(prompt)) and (instruction := _instruction(kind, match.groupdict())):
            return instruction
    return None


def understand(prompt: str) -> Instruction:
    """`parse`, with a RecordError for a prompt that is not of this world."""
    instruction = parse(prompt)
    if instruction is None:
        raise RecordError(
            f"simulation: not a prompt of the small world (got {prompt[:80]!r}). The known truth exists only for "
            "prompts made by components.simulation.world.prompts."
        )
    return instruction
