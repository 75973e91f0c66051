"""Draw prompts and pairs of answers, and let a panel vote on every pair.

The file holds what a labeling tool would export and no more; whoever imports it says what the annotators were
(human_feedback: annotator_kind simulated).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
from tqdm import tqdm

from components.contract import Inputs, Metrics, Outputs
from components.records import write_lines
from components.simulated_feedback.params import Params
from components.simulation.annotators import Annotator, choose, panel
from components.simulation.world import gold_utility, prompts, write

_INVERTED = {"a": "b", "b": "a", "tie": "tie"}


def _pair(prompt: str, params: Params, rng: np.random.Generator) -> tuple[str, str]:
    """Two different answers (a careful writer may have just one way to answer, so the worse writer tries again)."""
    low, high = params.writers.lowest_quality, params.writers.highest_quality
    first = second = write(prompt, rng, rng.uniform(low, high))
    while second == first:
        second = write(prompt, rng, rng.uniform(low, high))
    return first, second


def _votes(number: int, prompt: str, params: Params, people: list[Annotator]) -> Iterator[dict[str, Any]]:
    """The votes on one pair. Everything follows from the seed and the pair's number."""
    rng = np.random.default_rng([params.seed, 3, number])
    a, b = _pair(prompt, params, rng)
    utility_gap = gold_utility(prompt, a) - gold_utility(prompt, b)
    length_gap = len(a.split()) - len(b.split())
    for index in rng.permutation(len(people))[: params.votes_per_pair]:
        person, a_first = people[int(index)], bool(rng.random() < 0.5)
        choice: str = choose(person, utility_gap, length_gap, a_first, rng)
        seconds = (1.0 if person.lapse > 0.5 else 6.0) * np.exp(0.4 * rng.standard_normal())
        if rng.random() < params.flip:
            choice = _INVERTED[choice]
        yield {
            "prompt": prompt,
            "response_a": a,
            "response_b": b,
            "annotator": person.id,
            "choice": choice,
            "shown_first": "a" if a_first else "b",
            "duration_ms": round(1000 * seconds),
        }


def _truth(votes: list[dict[str, Any]]) -> tuple[str, str]:
    """(truly better side, majority side) of one pair's votes; "tie" where there is none."""
    first = votes[0]
    gap = gold_utility(first["prompt"], first["response_a"]) - gold_utility(first["prompt"], first["response_b"])
    tally = Counter(vote["choice"] for vote in votes)
    lead = tally["a"] - tally["b"]
    return _side(gap), _side(lead)


def _side(gap: float) -> str:
    return "a" if gap > 0 else "b" if gap < 0 else "tie"


def _share(hits: int, n: int) -> float:
    return round(hits / n, 4) if n else 0.0


def run(params: Params, inputs: Inputs, outputs: Outputs) -> Metrics:
    """Write labels.jsonl. `agreement` and `majority_agreement` are shares of decided ones that match the truth."""
    people = panel(seed=params.seed, **asdict(params.panel))
    lines: list[dict[str, Any]] = []
    decided, agreeing, majority, majority_agreeing = 0, 0, 0, 0
    for number, prompt in enumerate(tqdm(prompts(params.n_prompts, params.seed), desc="votes", unit="pair")):
        votes = list(_votes(number, prompt, params, people))
        lines += votes
        better, most = _truth(votes)
        if better != "tie":
            decided += sum(vote["choice"] != "tie" for vote in votes)
            agreeing += sum(vote["choice"] == better for vote in votes)
            majority += most != "tie"
            majority_agreeing += most == better
    write_lines(outputs["raw"] / "labels.jsonl", lines)
    return {
        "n_pairs": params.n_prompts,
        "n_votes": len(lines),
        "tie_share": _share(sum(line["choice"] == "tie" for line in lines), len(lines)),
        "agreement": _share(agreeing, decided),
        "majority_agreement": _share(majority_agreeing, majority),
    }
