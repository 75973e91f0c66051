"""What several flows are made of: feedback becomes a data set, a candidate becomes a decision."""

from __future__ import annotations

from dataclasses import dataclass

from flows.graph import Graph, Handle, Node
from flows.profile import Layout


@dataclass(frozen=True)
class Beginning:
    """Where training starts from: the first feedback, the base model, the data set, the reward model."""

    feedback: Handle
    base: Handle
    dataset: Handle
    reward: Handle


def beginning(at: Graph, layout: Layout) -> Beginning:
    """Feedback of every source, curated, and a reward model of it."""
    raw = layout.raw or at.step("simulated_feedback")["raw"]
    human = at.step("human_feedback", raw=raw)["feedback"]
    base = at.step("base_model", text=human)["policy"]
    feedback = [feedback_of(at, source, raw, human, base) for source in layout.feedback]
    dataset = at.step("feedback_curation", feedback=feedback, policy=base)["dataset"]
    reward = at.step("reward_modeling", dataset=dataset, base=base)["model"]
    return Beginning(human, base, dataset, reward)


def feedback_of(at: Graph, source: str, raw: Handle, human: Handle, base: Handle) -> Handle:
    """What a feedback component makes of what is there, found by the types of its ports: a new one needs no edit."""

    def samples() -> Handle:
        made = at.nodes.get("response_sampling") or at.step("response_sampling", policy=base, prompts=human)
        return made["samples"]

    offered = {"raw_feedback": lambda: raw, "feedback": lambda: human, "policy": lambda: base, "samples": samples}
    node = at.nodes.get(source) or at.by_types(source, offered)
    return node.of_type("feedback")


def decision(at: Graph, first: Beginning, policy: Handle, layout: Layout) -> Node:
    """Policy to verdict: evaluate against the base and the champion, pass the gate or be refused."""
    report = at.step(
        "evaluation",
        policy=policy,
        reference=first.base,
        dataset=first.dataset,
        reward_model=first.reward,
        champion=layout.champion,
    )["report"]
    return at.step("registration", policy=policy, report=report)
