"""A judge that knows the truth of the simulated world, blurred on purpose. For tests, quickstart and experiments."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic

from components.contract.record import canonical
from components.errors import ParamsError
from components.judges.contract import PromptContract
from components.judges.reply import Answer, Item, Reply
from components.judges.table import JUDGES, PROMPT_CONTRACTS
from components.simulation.world import gold_utility

if TYPE_CHECKING:  # the row that opens this
    from components.judges.kinds import Simulated

_FAULTLESS = 3.0  # the utility of a faultless answer; one without any right content has about 0 or less


class SimulatedJudge(Generic[Item, Answer]):
    """Knows the true utility u of every answer.

    verdict: the higher of u(first) + position_bias + noise * N(0, 1) and u(second).
    grade: u + noise * N(0, 1) on the contract's scale, 0 or less at its lower end and 3 at its upper, rounded.

    The noise is a function of the seed, the prompt and the texts in the order shown, so a repeated question gets the
    same answer, and the two orders of a pair get independent ones.
    """

    explains = False

    def __init__(self, params: Simulated, contract: PromptContract[Item, Answer]) -> None:
        self._params, self._contract = params, contract
        kind = PROMPT_CONTRACTS[contract.ROW.name].facts["answer"]
        known: dict[str, Callable[[Any], Reply[Any]]] = {"verdict": self._verdict, "grade": self._grade}
        if kind not in known:
            raise ParamsError(
                f"judge: the simulated one gives a {' or a '.join(known)} (got {contract.ref}, which asks for a "
                f"{kind}). Choose another judge or contract."
            )
        self._answer = known[kind]

    def who(self) -> dict[str, Any]:
        p, row = self._params, JUDGES["simulated"]
        revision = f"{row.revision};noise={p.noise};position_bias={p.position_bias};seed={p.seed}"
        return {"id": "simulated_judge", "kind": "simulated", "revision": revision, "temperature": 0.0}

    def annotator(self, item: Item) -> dict[str, Any]:
        return {**self.who(), "instructions_rev": "gold_utility@1"}

    def execution(self) -> dict[str, int]:
        return {}

    def answer(self, items: Sequence[Item]) -> list[Reply[Answer]]:
        """Raises RecordError for a prompt that is not of the simulated world."""
        return [self._answer(item) for item in items]

    def _noise(self, prompt: str, *texts: str) -> float:
        question = canonical([self._params.seed, prompt, *texts]).encode("utf-8")
        generator = random.Random(int.from_bytes(hashlib.sha256(question).digest()[:8], "big"))
        return self._params.noise * generator.gauss(0.0, 1.0)

    def _verdict(self, item: Any) -> Reply[Any]:
        prompt = _asked(item)
        first, second = gold_utility(prompt, item.a), gold_utility(prompt, item.b)
        lead = first - second + self._params.position_bias + self._noise(prompt, item.a, item.b)
        outcome = "a" if lead > 0 else "b" if lead < 0 else "tie"
        return Reply(outcome, text=f"utility {first:.3f} against {second:.3f}, judged as a lead of {lead:.3f}")

    def _grade(self, item: Any) -> Reply[Any]:
        prompt, (low, high) = _asked(item), self._contract.scale  # type: ignore[attr-defined]  # a contract of grades
        utility = gold_utility(prompt, item.completion) + self._noise(prompt, item.completion)
        share = min(max(utility / _FAULTLESS, 0.0), 1.0)
        return Reply(low + math.floor((high - low) * share + 0.5), text=f"judged as a utility of {utility:.3f}")


def _asked(item: Any) -> str:
    return next(str(message["content"]) for message in reversed(item.messages) if message["role"] == "user")
