"""`align`: one pass from feedback to a gated, registered model."""

from __future__ import annotations

from dataclasses import dataclass

from prefect import flow

from flows.graph import Graph, Handle, Node
from flows.outcome import cancellable, open_run
from flows.settings import Profile, load_settings


@dataclass(frozen=True)
class Candidate:
    """The artifacts that a candidate policy comes with."""

    base: Handle
    dataset: Handle
    reward: Handle
    policy: Handle


def candidate(at: Graph, raw: Handle | None, sources: tuple[str, ...]) -> Candidate:
    """Feedback to policy: the part of the graph that every retraining shares."""
    raw = raw or at.step("simulated_feedback").raw
    human = at.step("human_feedback", raw=raw).feedback
    base = at.step("base_model", text=human).policy
    feedback = [human] if "human" in sources else []
    if {"llm", "heuristic"} & set(sources):
        samples = at.step("response_sampling", policy=base, prompts=human).samples
        if "llm" in sources:
            feedback.append(at.step("llm_feedback", samples=samples).feedback)
        if "heuristic" in sources:
            feedback.append(at.step("heuristic_feedback", samples=samples).feedback)
    dataset = at.step("feedback_curation", feedback=feedback, policy=base).dataset
    reward = at.step("reward_modeling", dataset=dataset, base=base).model
    policy = at.step("policy_optimization", dataset=dataset, policy=base).policy
    return Candidate(base, dataset, reward, policy)


def judgement(at: Graph, made: Candidate, champion: Handle | None) -> Node:
    """Policy to verdict: evaluate against the base and the champion, pass the gate or be refused."""
    report = at.step(
        "evaluation",
        policy=made.policy,
        reference=made.base,
        dataset=made.dataset,
        reward_model=made.reward,
        champion=champion,
    ).report
    return at.step("registration", policy=made.policy, report=report)


def wire(at: Graph, raw: Handle | None = None, sources: tuple[str, ...] = Profile().sources) -> Node:
    """The whole graph, as it also stands in dvc.yaml."""
    return judgement(at, candidate(at, raw, sources), champion=None)


@flow(name="align")
@cancellable
def align(
    profile: str = "", raw: str = "", overrides: tuple[str, ...] = (), runner: str = "", cluster: str = ""
) -> dict[str, str]:
    """Feedback -> reward model -> policy -> evaluation -> gate -> registered (or refused) model version.

    profile: a file of flows/profiles (empty: the quickstart). raw: a file or folder of feedback in a known format.
    overrides: "step.key=value" over params.yaml. runner: local, or kubernetes with cluster: a file of k8s/profiles.
    """
    with open_run(load_settings("align", profile, raw, tuple(overrides), runner, cluster)) as run:
        run.finish(wire(run.graph, run.settings.raw_feedback(), run.settings.profile.sources))
        return run.conclude()
