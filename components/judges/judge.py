"""A model as a judge: a prompt contract gives the asking a meaning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic

from components.judges.asker import Asker, Completion, Question
from components.judges.contract import PromptContract, prompt_hash
from components.judges.reply import Answer, Item, Reply
from components.judges.table import PROMPT_CONTRACTS


class ModelJudge(Generic[Item, Answer]):
    """Puts each item to the asker in the words of the contract, and reads what comes back."""

    explains = True

    def __init__(self, asker: Asker, contract: PromptContract[Item, Answer]) -> None:
        self._asker, self._contract = asker, contract

    def who(self) -> dict[str, Any]:
        return self._asker.who()

    def annotator(self, item: Item) -> dict[str, Any]:
        prompt = prompt_hash(self._contract.render(item))
        return {**self.who(), "instructions_rev": f"{self._contract.ref}:{prompt}"}

    def execution(self) -> dict[str, int]:
        return self._asker.execution()

    def answer(self, items: Sequence[Item]) -> list[Reply[Answer]]:
        """Ask about every item, and again about those without an answer, at most `contract.retries` times."""
        contract = self._contract
        prompts = [contract.render(item) for item in items]
        said: list[list[Completion]] = [[] for _ in items]
        values: list[Answer | None] = [None for _ in items]
        waiting = list(range(len(items)))
        for sample in range(contract.retries + 1):
            if not waiting:
                break
            questions = [Question(prompts[i], contract.ref, sample, contract.top_logprobs) for i in waiting]
            for i, completion in zip(waiting, self._asker.ask(questions), strict=True):
                said[i].append(completion)
                values[i] = contract.parse(completion)
            waiting = [i for i in waiting if values[i] is None and not said[i][-1].refused]
        return [self._reply(value, completions) for value, completions in zip(values, said, strict=True)]

    def _reply(self, value: Answer | None, said: Sequence[Completion]) -> Reply[Answer]:
        last = said[-1]
        return Reply(
            value=value,
            text=last.text,
            n_retries=len(said) - 1,
            reason="" if value is not None else self._why_none(last),
            prompt_tokens=sum(completion.prompt_tokens for completion in said),
            completion_tokens=sum(completion.completion_tokens for completion in said),
            served_model=last.model,
        )

    def _why_none(self, said: Completion) -> str:
        if said.refused:
            return f"the judge refused the question ({said.refused})"
        if said.finish == "length":
            return "the answer was cut off at max_tokens"
        if not said.text.strip():
            return "the answer is empty"
        return f"no {PROMPT_CONTRACTS[self._contract.ROW.name].facts['answer']}, or contradicting ones, in the answer"
