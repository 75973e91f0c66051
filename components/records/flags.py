"""What is legal in a record but must never pass unseen: counted and shown, not refused. Same shape as a rule."""

from __future__ import annotations

import re
from collections.abc import Iterator

from components.records.rules import Labels, Rule, candidates_of, judgments_of
from components.records.schema import Problem, Record

FLAGS: dict[str, Rule] = {}


def _flag(function: Rule) -> Rule:
    FLAGS[function.__name__] = function
    return function


def flags(record: Record) -> list[str]:
    """The names of the flags a valid record raises."""
    needless = _needless("\n".join([text for _, text in _texts(record)]))
    return [name for name, rule in FLAGS.items() if name not in needless and any(True for _ in rule(record, None))]


@_flag
def truncated_preferred(record: Record, labels: Labels) -> Iterator[Problem]:
    """A candidate that was cut off is the preferred side."""
    truncated = {cid for cid, candidate in candidates_of(record).items() if candidate["truncated"]}
    for where, judgment in judgments_of(record, "pairwise"):
        if judgment["outcome"] in ("a", "b") and judgment[judgment["outcome"]] in truncated:
            yield where, "prefers a truncated candidate."
    for where, judgment in judgments_of(record, "ranking"):
        if len(judgment["tiers"]) > 1 and truncated & set(judgment["tiers"][0]):
            yield where, "ranks a truncated candidate first."


@_flag
def order_not_recorded(record: Record, labels: Labels) -> Iterator[Problem]:
    """A comparison does not say which candidate was shown first, so position bias cannot be measured on it."""
    for where, judgment in judgments_of(record, "pairwise"):
        if "shown_order" not in judgment and "combined_of" not in judgment:
            yield where, "has no shown order."


@_flag
def generator_unknown(record: Record, labels: Labels) -> Iterator[Problem]:
    """It is not known what wrote a candidate."""
    for i, candidate in enumerate(record["candidates"]):
        if candidate["generator"]["name"] == "unknown":
            yield f"candidates[{i}]", "has an unknown generator."


@_flag
def score_off_step(record: Record, labels: Labels) -> Iterator[Problem]:
    """A score lies between two steps of its scale, such as 3.5 of 1 to 5: it may be of another scale, or a mean."""
    for where, judgment in judgments_of(record, "score"):
        step = judgment["scale"].get("step")
        if step:
            steps = (judgment["value"] - judgment["scale"]["min"]) / step
            if abs(steps - round(steps)) > 1e-6:
                yield f"{where}.value", f"is off the step {step}."


@_flag
def prompt_repeated(record: Record, labels: Labels) -> Iterator[Problem]:
    """Both answers began with the whole prompt in the file; it was removed from them."""
    if "prompt_repeated" in record["task"]["tags"]:
        yield "candidates", "began with the prompt."


_WORDS = frozenset(
    {"none", "null", "n/a", "na", "nil", "undefined", "nan", "nat", "<na>", "#n/a", "-", "?", "[deleted]"}
)


@_flag
def word_for_missing(record: Record, labels: Labels) -> Iterator[Problem]:
    """A prompt, an answer or an annotator is called like a missing value: None, null, N/A."""
    for where, text in _texts(record):
        if len(text) < 16 and text.strip().casefold() in _WORDS:
            yield where, "may be the word for a missing value."
    if record["annotator"]["id"].strip().casefold() in _WORDS:
        yield "annotator.id", "may be the word for a missing value."


@_flag
def control_characters(record: Record, labels: Labels) -> Iterator[Problem]:
    """A text holds control characters other than tabs and line ends."""
    return _found(record, _CONTROL, "control characters")


@_flag
def direction_overrides(record: Record, labels: Labels) -> Iterator[Problem]:
    """A text holds characters that turn the direction of reading: what people see is not its order."""
    return _found(record, _DIRECTION, "direction overrides")


@_flag
def invisible_characters(record: Record, labels: Labels) -> Iterator[Problem]:
    """A text holds characters without width, or tags that nobody sees."""
    return _found(record, _INVISIBLE, "invisible characters")


@_flag
def replacement_characters(record: Record, labels: Labels) -> Iterator[Problem]:
    """A text holds U+FFFD: it was read in a wrong encoding once, and what stood there is lost."""
    return _found(record, _REPLACED, "U+FFFD")


@_flag
def role_tokens(record: Record, labels: Labels) -> Iterator[Problem]:
    """A text spells tokens or markers that divide turns: it may hold more than one turn, or forge one."""
    return _found(record, _ROLE_TOKENS, "role tokens")


_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_REPLACED = re.compile("\ufffd")
_DIRECTION = re.compile("[\u202a-\u202e\u2066-\u2069]")
# joiners have a use within emoji and some scripts, not beside Latin letters, blanks and ends
_JOINER = "(?:(?:^|[\x00-\u024f])[\u200c\u200d]|[\u200c\u200d](?:$|[\x00-\u024f]))"
_INVISIBLE = re.compile(f"[\u200b\u2060-\u2064\u180e\ufeff\u00ad\u115f\u3164]|[\U000e0000-\U000e007f]|{_JOINER}")
_ODD = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u115f\u180e\u200b-\u200d\u202a-\u202e\u2060-\u2069\u3164\ufeff\ufffd"
    "\U000e0000-\U000e007f]"
)
_SIGNS = ("<|", "<\uff5c", "s>", "_turn>", "INST]", "SYS>", "Human:", "Assistant:", "User:")
_ROLE_TOKENS = re.compile(
    r"<\|[A-Za-z_]{2,30}\|>|<\uff5c[^\uff5c]{1,30}\uff5c>|</?s>|<(?:bos|eos|start_of_turn|end_of_turn)>|\[/?INST\]|<</?SYS>>"
    r"|(?:^|\n)(?:#{1,4} )?(?:Human|Assistant|User):"
)


_OF_LETTERS = frozenset({"control_characters", "direction_overrides", "invisible_characters", "replacement_characters"})


def _needless(text: str) -> set[str]:
    """Flags that cannot apply to a record with this text: a quick look, since nearly every record ends here."""
    letters = set() if _ODD.search(text) else set(_OF_LETTERS)
    return letters if any(sign in text for sign in _SIGNS) else letters | {"role_tokens"}


def _found(record: Record, pattern: re.Pattern[str], what: str) -> Iterator[Problem]:
    for where, text in _texts(record):
        if pattern.search(text):
            yield where, f"holds {what}."


def _texts(record: Record) -> Iterator[tuple[str, str]]:
    """Every text of the prompt and the candidates, with where it stands."""
    owners = [(f"task.messages[{i}]", message["parts"]) for i, message in enumerate(record["task"]["messages"])]
    owners += [(f"candidates[{i}]", candidate["parts"]) for i, candidate in enumerate(record["candidates"])]
    for where, parts in owners:
        for part in parts:
            if "text" in part:
                yield where, part["text"]
    if "system" in record["task"]:
        yield "task.system", record["task"]["system"]
