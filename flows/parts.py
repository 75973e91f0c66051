"""What several flows are made of: feedback becomes a data set, a candidate becomes a decision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from components.errors import WiringError, nearest
from flows.graph import Graph, Handle, Node
from flows.profile import Layout


@dataclass(frozen=True)
class Beginning:
    """Where training starts from: the first feedback, the base model, the data set."""

    feedback: Handle
    base: Handle
    dataset: Handle


def beginning(at: Graph, layout: Layout) -> Beginning:
    """Feedback of every source, curated into one data set."""
    raw = layout.raw or at.step("simulated_feedback")["raw"]
    human = at.step("human_feedback", raw=raw)["feedback"]
    base = at.step("base_model", text=human)["policy"]
    feedback = [feedback_of(at, source, raw, human, base, layout) for source in layout.feedback]
    dataset = at.step("feedback_curation", feedback=feedback, policy=base)["dataset"]
    return Beginning(human, base, dataset)


def feedback_of(at: Graph, source: str, raw: Handle, human: Handle, base: Handle, layout: Layout) -> Handle:
    """What a feedback component makes of what is there, found by the types of its ports: a new one needs no edit."""

    def samples() -> Handle:
        made = at.nodes.get("response_sampling") or at.step("response_sampling", policy=base, prompts=human)
        return made["samples"]

    offered = {"raw_feedback": lambda: raw, "feedback": lambda: human, "policy": lambda: base, "samples": samples}
    node = at.nodes.get(source) or at.by_types(source, offered, **judge_of(layout, source))
    return node.of_type("feedback")


def judge_of(layout: Layout, section: str) -> dict[str, Handle]:
    """The policy that judges by a section of params.yaml, as an input, where a policy does."""
    return {"model": layout.judges[section]} if section in layout.judges else {}


@dataclass(frozen=True)
class Contest:
    """Who is compared on what: policies and their answers to the held-out prompts, the candidate first."""

    dataset: Handle
    reward: Handle
    policies: dict[str, Handle]
    answers: dict[str, Handle]
    judge: dict[str, Handle]

    @property
    def opponents(self) -> dict[str, Handle]:
        """The answers of all but the candidate."""
        return {who: answers for who, answers in self.answers.items() if who != "candidate"}


def decision(at: Graph, first: Beginning, policy: Handle, reward: Handle, layout: Layout) -> Node:
    """Policy to verdict: evaluated against the base and the champion, through the gate or refused.

    Sampling, scoring and judging are steps of their own: a GPU never waits for a judge, and who changes how results are
    measured samples nothing again. `reward` must not have trained the policy.
    """
    policies = {"candidate": policy, "reference": first.base}
    policies |= {"champion": layout.champion} if layout.champion else {}
    answers = {who: answered(at, who, own, first.dataset) for who, own in policies.items()}
    contest = Contest(first.dataset, reward, policies, answers, judge_of(layout, "verdicts"))
    said = [likelihood(at, who, contest) for who in policies]
    for witness in layout.witnesses:
        if witness not in WITNESSES:
            raise WiringError(f"witnesses: '{witness}' is none that a flow can ask.{nearest(witness, WITNESSES)}")
        said += WITNESSES[witness](at, contest)
    inputs: dict[str, Any] = {
        **answers,
        "scores": [handle for handle in said if handle.type == "scores"],
        "verdicts": [handle for handle in said if handle.type == "verdicts"],
    }
    report = at.step("evaluation", dataset=first.dataset, policy=policy, **inputs)["report"]
    return at.step("registration", policy=policy, report=report)


def answered(at: Graph, who: str, policy: Handle, dataset: Handle) -> Handle:
    """One system's answers to the held-out prompts: the same prompts and random numbers for all."""
    return at.step(
        "response_sampling",
        name=f"{who}_answers",
        section="answers",
        doc=f"Answers of the {who} to the held-out prompts.",
        policy=policy,
        dataset=dataset,
    )["samples"]


def likelihood(at: Graph, who: str, contest: Contest) -> Handle:
    """Log-probabilities of the held-out comparisons under one policy; under the reference also those of the others'
    answers, which say how far the others have moved from it."""
    others = [answers for name, answers in contest.answers.items() if name != who] if who == "reference" else None
    return at.step(
        "scoring",
        name=f"{who}_likelihood",
        doc=f"The {who} itself on the held-out comparisons{', and on the answers of the others' if others else ''}.",
        policy=contest.policies[who],
        dataset=contest.dataset,
        samples=others,
    )["scores"]


def scored(at: Graph, contest: Contest) -> list[Handle]:
    """The reward model on every answer, on each against those of the opponents, and on the held-out comparisons."""
    return [
        at.step(
            "scoring",
            name="reward_scores",
            doc="The reward model on all answers and on the held-out comparisons.",
            model=contest.reward,
            samples=list(contest.answers.values()),
            against=list(contest.opponents.values()),
            dataset=contest.dataset,
        )["scores"]
    ]


def judged(at: Graph, contest: Contest) -> list[Handle]:
    """A judge on the candidate's answers against those of each opponent."""
    return [
        at.step(
            "llm_feedback",
            name=f"judge_vs_{who}",
            section="verdicts",
            doc=f"A judge on the candidate's answers against those of the {who}, each pair in both orders.",
            samples=contest.answers["candidate"],
            against=answers,
            **contest.judge,
        )["verdicts"]
        for who, answers in contest.opponents.items()
    ]


WITNESSES: dict[str, Callable[[Graph, Contest], list[Handle]]] = {"scoring": scored, "llm_feedback": judged}
"""Components that can say who is better, and the steps in which a flow asks them."""
