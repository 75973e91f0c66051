"""A judge that knows the truth of the simulated world, blurred on purpose. For tests, quickstart and experiments."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import Any

from components.contract.record import canonical
from components.judges.pairs import Outcome, PairItem, Verdict
from components.judges.params import JudgeParams
from components.simulation.world import gold_utility


class SimulatedJudge:
    """Prefers the higher u(first) + position_bias - u(second) + noise * N(0, 1), u being the true utility.

    The noise is a function of the seed, the prompt and the two texts in the order shown, so a repeated question gets
    the same answer, and the two orders of a pair get independent ones.
    """

    def __init__(self, params: JudgeParams) -> None:
        self._params = params

    def annotator(self, item: PairItem) -> dict[str, Any]:
        p = self._params
        return {
            "id": "simulated_judge",
            "kind": "simulated",
            "revision": f"1;noise={p.noise};position_bias={p.position_bias};seed={p.seed}",
            "instructions_rev": "gold_utility@1",
            "temperature": 0.0,
        }

    def execution(self) -> dict[str, int]:
        return {}

    def judge(self, items: Sequence[PairItem]) -> list[Verdict]:
        return [self._verdict(item) for item in items]

    def _verdict(self, item: PairItem) -> Verdict:
        prompt = next(message["content"] for message in reversed(item.messages) if message["role"] == "user")
        first, second = gold_utility(prompt, item.a), gold_utility(prompt, item.b)
        question = canonical([self._params.seed, prompt, item.a, item.b]).encode("utf-8")
        generator = random.Random(int.from_bytes(hashlib.sha256(question).digest()[:8], "big"))
        lead = first - second + self._params.position_bias + self._params.noise * generator.gauss(0.0, 1.0)
        outcome: Outcome = "a" if lead > 0 else "b" if lead < 0 else "tie"
        return Verdict(outcome, text=f"utility {first:.3f} against {second:.3f}, judged as a lead of {lead:.3f}")
