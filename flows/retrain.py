"""`retrain`: scheduled, or when feedback has arrived: challenger -> gate -> promote it or keep the champion."""

from __future__ import annotations

from prefect import flow

from flows.align import candidate, judgement
from flows.graph import Graph, Handle, Node
from flows.outcome import cancellable, open_run
from flows.runner import Runner
from flows.settings import Profile, Settings, load_settings


def wire(
    at: Graph,
    raw: Handle | None = None,
    sources: tuple[str, ...] = Profile().sources,
    champion: Handle | None = None,
) -> Node:
    """The graph with a champion to beat (without one, before the first promotion, it is the graph of `align`)."""
    return judgement(at, candidate(at, raw, sources), champion)


@flow(name="retrain")
@cancellable
def retrain(
    profile: str = "", raw: str = "", overrides: tuple[str, ...] = (), runner: str = "", cluster: str = ""
) -> dict[str, str]:
    """Train a challenger on today's feedback, compare it with the champion, promote it if the gate passes.

    Costs next to nothing when nothing is new: every step is a cache hit and the champion stays.
    """
    with open_run(load_settings("retrain", profile, raw, tuple(overrides), runner, cluster)) as run:
        made = candidate(run.graph, run.settings.raw_feedback(), run.settings.profile.sources)
        challenger = run.until(made.policy)
        champion = fetch_champion(run.settings, run.runner)
        if champion is not None and run.artifact(champion).id == challenger.id:
            return run.conclude("nothing new: this feedback and these parameters make the champion again")
        run.finish(judgement(run.graph, made, champion))
        return run.conclude()


def fetch_champion(settings: Settings, runner: Runner) -> Handle | None:
    """The registry's champion as an artifact of this flow; None before the first promotion.

    Its weights are downloaded into the workspace, unless the steps can read them where they are.
    """
    from components.registry import Registry

    registry, name = Registry(), settings.params["registration"]["name"]
    champion = registry.champion(name)
    if champion is None:
        return None
    record = registry.record(name, "@champion")
    if runner.holds(champion.content_id, record):
        return Graph.stored("policy", "champion", champion.content_id, record.identity if record else "")
    place = settings.output("champion", "policy")
    registry.download(name, "@champion", place)
    return Graph.external("policy", place)
