"""What comes back from a judge, whatever was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Asked = TypeVar("Asked", contravariant=True)


@dataclass(frozen=True)
class Reply(Generic[Answer]):
    """The answer about one item. `value` None: no answer could be read, `reason` says why; it is never guessed."""

    value: Answer | None
    text: str = ""
    n_retries: int = 0
    reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    served_model: str = ""

    @property
    def parse_ok(self) -> bool:
        return self.value is not None


class Judge(Protocol[Asked, Answer]):
    """Anything that answers one prompt contract. Must be a function of the items, so that a rerun gives the same."""

    @property
    def explains(self) -> bool:
        """Whether the text of a reply is an explanation that is worth keeping in a record."""
        ...

    def answer(self, items: Sequence[Asked]) -> Sequence[Reply[Answer]]:
        """One reply per item, in order. Raises JudgeError, ParamsError."""
        ...

    def who(self) -> dict[str, Any]:
        """kind, id, revision and temperature."""
        ...

    def annotator(self, item: Asked) -> dict[str, Any]:
        """The `annotator` of a feedback record about this item: who, and instructions_rev."""
        ...

    def execution(self) -> dict[str, int]:
        """What is true of this run only (requests sent, answers found in the cache), for `outputs.execution`."""
        ...
