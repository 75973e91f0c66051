"""One hand-worked case per kind of preference model, with its arithmetic. A kind without one fails the tests."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """What a row's function is given (nested lists), and what it gives."""

    given: dict[str, list[Any]]
    expect: list[float]
    knobs: dict[str, Any] = field(default_factory=dict)


CASES: dict[str, list[Case]] = {
    "scalar": [Case({"values": [[1.5], [-2.0]]}, [1.5, -2.0])],
    "scalar_mean": [
        # (1 + 2 + 6) / 3; (4 + 1) / 2, the 99 is padding
        Case({"values": [[[1.0], [2.0], [6.0]], [[4.0], [1.0], [99.0]]], "mask": [[1, 1, 1], [1, 1, 0]]}, [3.0, 2.5]),
    ],
    "scalar_segments": [
        # 1 + 2 + 6; 4 + 1, the 99 is padding
        Case({"values": [[[1.0], [2.0], [6.0]], [[4.0], [1.0], [99.0]]], "mask": [[1, 1, 1], [1, 1, 0]]}, [9.0, 5.0]),
    ],
    "gpm": [
        # (1 * 4 - 2 * 3) / .1 = -20; (0 * 1 - 1 * 2) / .1 = -20 as well; at temperature 2: -1
        Case({"first": [[1.0, 2.0], [0.0, 1.0]], "second": [[3.0, 4.0], [2.0, 1.0]]}, [-20.0, -20.0]),
        Case({"first": [[1.0, 2.0]], "second": [[3.0, 4.0]]}, [-1.0], {"temperature": 2.0}),
        # vectors (r, 1), temperature 1: 2 * 1 - 1 * .5 = 1.5, the difference of rewards
        Case({"first": [[2.0, 1.0]], "second": [[0.5, 1.0]]}, [1.5], {"temperature": 1.0}),
        # two blocks: (1 * 1 - 0 * 0) + (2 * 3 - 1 * 5) = 1 + 1
        Case(
            {"first": [[1.0, 0.0, 2.0, 1.0]], "second": [[0.0, 1.0, 5.0, 3.0]]}, [2.0], {"width": 4, "temperature": 1.0}
        ),
    ],
    "mean_of_members": [Case({"values": [[1.0, 2.0, 6.0], [0.0, 0.0, -3.0]]}, [3.0, -1.0])],
    "worst_of_members": [Case({"values": [[1.0, 2.0, 6.0], [0.0, 0.0, -3.0]]}, [1.0, -3.0])],
    "mean_less_variance": [
        # mean 3, variance (4 + 1 + 9) / 3 = 14/3, half of it 7/3; mean -1, variance (1 + 1 + 4) / 3 = 2
        Case({"values": [[1.0, 2.0, 6.0], [0.0, 0.0, -3.0]]}, [3 - 7 / 3, -2.0]),
        Case({"values": [[1.0, 2.0, 6.0]]}, [3.0], {"weight": 0.0}),  # then it is the mean
    ],
}

ROCK_PAPER_SCISSORS = [[math.cos(angle), math.sin(angle)] for angle in (0.0, 2 * math.pi / 3, 4 * math.pi / 3)]
"""Three vectors of which each one beats the one before it and loses to the other (gpm with one block)."""
