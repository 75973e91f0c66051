"""Asking: prompts in, completions out. An asker knows nothing of what the prompts are about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Question:
    """One prompt put to a model.

    contract: name@revision of what asks, part of the cache key. sample: 0 for the first time, then one more for each
    time that the same prompt is asked again. top_logprobs: for how many of the likeliest tokens, at each place of the
    completion, the log-probability is wanted.
    """

    messages: Sequence[dict[str, str]]
    contract: str
    sample: int = 0
    top_logprobs: int = 0


@dataclass(frozen=True)
class Completion:
    """What a model said. `finish` "length": it was cut off. `refused` names why it would not answer this question.

    logprobs: per token of the text {token, logprob, top: {token: logprob}} in nats; None if they were not asked for
    or the model does not give them.
    """

    text: str
    finish: str = "stop"
    refused: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    model: str = ""
    logprobs: list[dict[str, Any]] | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Asker(Protocol):
    """A model that can be asked: behind an endpoint, or on this machine."""

    def ask(self, questions: Sequence[Question]) -> list[Completion]:
        """One completion per question, in order; equal questions are asked once. Raises JudgeError, ParamsError."""
        ...

    def who(self) -> dict[str, Any]:
        """id, kind, revision and temperature, for the `annotator` of a record."""
        ...

    def execution(self) -> dict[str, int]:
        """What is true of this run only, such as requests sent and answers found in the cache."""
        ...
