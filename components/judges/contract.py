"""What a prompt contract is, and the tools they share: quoting material that may lie, reading the judge's last word."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol

from components.contract.record import canonical
from components.judges.asker import Completion
from components.judges.reply import Answer, Item

Message = dict[str, str]


class PromptContract(ABC, Generic[Item, Answer]):
    """A typed item becomes chat messages, a judge's completion becomes a typed answer. Its fields are the knobs.

    Raise the row's `revision` with any change of the wording or of the parser: it is part of the parameters, of the
    cache key and of every record.
    """

    ROW: ClassVar[Any]
    retries: ClassVar[int] = 2
    """How often an item is asked about again when its completion holds no answer, before it is given up."""
    top_logprobs: ClassVar[int] = 0
    """Of how many of the likeliest tokens the contract reads the log-probabilities, at each place of the completion."""

    @property
    def ref(self) -> str:
        """`name@revision`."""
        return f"{self.ROW.name}@{self.ROW.revision}"

    @abstractmethod
    def render(self, item: Item) -> list[Message]:
        """The chat messages that put an item to a judge."""

    @abstractmethod
    def parse(self, said: Completion) -> Answer | None:
        """The answer in what the judge said, None if there is none. Never guesses."""

    def context(self) -> dict[str, Any]:
        """What the judge was told to apply, as `context` of the records."""
        return {}


class Scaled(Protocol):
    """What a contract says that gives grades: what is graded, and from where to where. Whole numbers only."""

    @property
    def attribute(self) -> str: ...
    @property
    def scale(self) -> tuple[int, int]: ...


@dataclass(frozen=True)
class TextItem:
    """One completion of a prompt, and a reference answer ("" for none). `key` does not reach the judge."""

    key: str
    messages: Sequence[Message]
    completion: str
    reference: str = ""


def prompt_hash(messages: Sequence[Message]) -> str:
    """sha256 of the rendered prompt."""
    return hashlib.sha256(canonical(list(messages)).encode("utf-8")).hexdigest()


def quote(pieces: Sequence[tuple[str, str]]) -> str:
    """(label, text) pieces, each between marker lines that stand in none of the texts: nothing can close its quote.

    The marker is a function of the texts. Break the marks of your own grammar in them first.
    """
    fence = hashlib.sha256(canonical([text for _, text in pieces]).encode("utf-8")).hexdigest()[:12]
    while any(fence in text for _, text in pieces):
        fence = hashlib.sha256(fence.encode("ascii")).hexdigest()[:12]
    return "\n\n".join(f"<<<{fence} {label}\n{text}\n{fence}>>>" for label, text in pieces)


def last_words(said: Completion) -> str:
    """The answer without its deliberation (<think>...</think>); nothing if it was cut off or never stopped thinking."""
    answer = said.text.rpartition("</think>")[2]
    return "" if said.finish == "length" or "<think>" in answer else answer
