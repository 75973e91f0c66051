"""`online_alignment`: a policy learns from the best of its own answers, round by round (best-of-n fine-tuning, PO-70).

The loop is unrolled: the rounds are steps of one graph, so that plan, cache, resume and dvc repro know them all.
"""

from __future__ import annotations

from flows.graph import Graph, Handle, Node
from flows.parts import Beginning, beginning, decision
from flows.profile import Layout


def wire(at: Graph, layout: Layout) -> Node:
    """Feedback -> reward model; then sample -> score -> keep the best -> fine-tune, again and again; then the gate.

    A second reward model scores the result: by the one that it was selected by, the policy would look good in any case.
    """
    first = beginning(at, layout)
    reward = at.step("reward_modeling", dataset=first.dataset, base=first.base)["model"]
    policy = first.base
    for number in range(1, layout.iterations + 1):
        policy = best_of_n(at, first, policy, reward, number)
    second = at.step(
        "reward_modeling",
        name="second_reward_modeling",
        section="second_reward_modeling",
        doc="A reward model that took no part in training, to score what came of it.",
        dataset=first.dataset,
        base=first.base,
    )["model"]
    return decision(at, first, policy, second, layout)


def best_of_n(at: Graph, first: Beginning, policy: Handle, reward: Handle, number: int) -> Handle:
    """One round: the policy after it is tuned on the best of n of its own answers, as the first reward model has it."""
    said = f"round {number}"
    samples = at.step(
        "response_sampling",
        name=f"rollouts_{number}",
        section="rollouts",
        doc=f"Several answers of the policy to each prompt, {said}.",
        policy=policy,
        prompts=first.feedback,
    )["samples"]
    scores = at.step(
        "scoring",
        name=f"rollout_scores_{number}",
        doc=f"What the reward model makes of them, {said}.",
        model=reward,
        samples=[samples],
    )["scores"]
    best = at.step(
        "heuristic_feedback",
        name=f"best_of_n_{number}",
        section="best_of_n",
        doc=f"The answers of each prompt in the order of their scores, {said}.",
        samples=samples,
        scores=scores,
    )["feedback"]
    dataset = at.step(
        "feedback_curation",
        name=f"best_of_n_curation_{number}",
        section="best_of_n_curation",
        doc=f"They become a data set, {said}.",
        feedback=[best],
        policy=policy,
    )["dataset"]
    return at.step(
        "policy_optimization",
        name=f"best_of_n_tuning_{number}",
        section="best_of_n_tuning",
        doc=f"The policy, fine-tuned on its best answers, {said}.",
        dataset=dataset,
        policy=policy,
    )["policy"]
