"""`align`: one pass from feedback to a gated, registered model. `retrain` is the same with a champion to beat."""

from __future__ import annotations

from flows.graph import Graph, Node
from flows.parts import beginning, decision
from flows.profile import Layout


def wire(at: Graph, layout: Layout) -> Node:
    """Feedback -> data set -> reward model and policy -> evaluation -> gate."""
    first = beginning(at, layout)
    reward = at.step("reward_modeling", dataset=first.dataset, base=first.base)["model"]
    policy = at.step("policy_optimization", dataset=first.dataset, policy=first.base)["policy"]
    return decision(at, first, policy, reward, layout)
