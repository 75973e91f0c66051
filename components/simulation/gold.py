"""The known truth: how good an answer really is, read from its text.

    utility = sum over TERMS of weight * quantity       (gold_terms gives the quantities)

A faultless answer has utility 3, an answer without any right content about 0 or less. Length is no term: an answer can
be too short (missing words) or too long (excess words, chatter), and both cost.
"""

from __future__ import annotations

import re

from components.simulation.instructions import Instruction, understand
from components.simulation.vocabulary import (
    CATEGORIES,
    CATEGORY_OF,
    CLOSINGS,
    GLUE,
    INSULTS,
    NUMBERS,
    OPENINGS,
    plural,
)

TERMS: dict[str, float] = {
    "content": 3.0,  # in [0, 1]. list: distinct right words / words asked for; verdict: 0.7 right verdict + 0.3 right
    #                  category named (all for the verdict if only yes or no was asked); kind: the right category named
    "mistake": -0.75,  # per wrong word: other category, repeated, more than asked, wrong category, contradiction
    "forbidden": -1.5,  # the word that was ruled out is named
    "chatter": -0.75,  # per opening or closing phrase that says nothing
    "insult": -1.5,  # per insult
    "manner": -0.75,  # the asked form (words only, full sentence, yes or no) is not kept
    "unfinished": -0.75,  # the answer proper (without chatter and insults) does not end with a full stop
    "noise": -3.0,  # share of words that are no words of this world; 1 for an empty text
}
_CATEGORY_NAMES = {name: name for name in CATEGORIES} | {plural(name): name for name in CATEGORIES}
_KNOWN = set(CATEGORY_OF) | set(_CATEGORY_NAMES) | GLUE | set(NUMBERS.values()) | set(map(str, NUMBERS))


def _take(text: str, phrases: tuple[str, ...]) -> tuple[str, int]:
    """The text without these phrases, and how many there were."""
    found = 0
    for phrase in phrases:
        found += text.count(phrase)
        text = text.replace(phrase, " ")
    return text, found


def _list_content(instruction: Instruction, words: list[str]) -> tuple[float, int]:
    named = [word for word in words if word in CATEGORY_OF and word != instruction.avoid]
    right = {word for word in named if CATEGORY_OF[word] == instruction.category}
    counted = min(len(right), instruction.count)
    return counted / instruction.count, len(named) - counted


def _verdict_content(instruction: Instruction, words: list[str]) -> tuple[float, int]:
    truth = CATEGORY_OF[instruction.word]
    wanted, unwanted = ("yes", "no") if truth == instruction.category else ("no", "yes")
    verdict = wanted in words and unwanted not in words
    named = [_CATEGORY_NAMES[word] for word in words if word in _CATEGORY_NAMES]
    strangers = sum(word in CATEGORY_OF and word != instruction.word for word in words)
    mistakes = strangers + (unwanted in words) + sum(name != truth for name in named if "not" not in words)
    if instruction.manner == "brief":
        return float(verdict), mistakes
    return 0.7 * verdict + 0.3 * (truth in named), mistakes


def _kind_content(instruction: Instruction, words: list[str]) -> tuple[float, int]:
    named = [_CATEGORY_NAMES[word] for word in words if word in _CATEGORY_NAMES]
    strangers = sum(word in CATEGORY_OF and word != instruction.word for word in words)
    return float(instruction.category in named), strangers + sum(name != instruction.category for name in named)


def _manner_broken(instruction: Instruction, words: list[str]) -> bool:
    sentence = any(verb in words for verb in ("is", "are", "say"))
    if instruction.manner == "words":
        return sentence
    if instruction.manner == "sentence":
        return not sentence
    return instruction.manner == "brief" and len(words) != 1


def gold_terms(prompt: str, completion: str) -> dict[str, float]:
    """The quantity of every term of TERMS for one answer. Raises RecordError for a prompt not of this world."""
    instruction = understand(prompt)
    text, chatter = _take(completion, OPENINGS + CLOSINGS)
    text, insults = _take(text, INSULTS)
    words = re.findall(r"[^\W_]+", text.lower())
    content_of = {"list": _list_content, "verdict": _verdict_content, "kind": _kind_content}
    content, mistakes = content_of[instruction.kind](instruction, words)
    return {
        "content": content,
        "mistake": float(mistakes),
        "forbidden": float(instruction.avoid in words),
        "chatter": float(chatter),
        "insult": float(insults),
        "manner": float(_manner_broken(instruction, words)),
        "unfinished": float(not text.rstrip().endswith(".")),
        "noise": sum(word not in _KNOWN for word in words) / len(words) if words else 1.0,
    }


def gold_utility(prompt: str, completion: str) -> float:
    """The true utility of an answer (higher is better, 3 at most). Raises RecordError for a foreign prompt."""
    return sum(TERMS[name] * quantity for name, quantity in gold_terms(prompt, completion).items())
