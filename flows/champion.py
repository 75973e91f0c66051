"""The policy to beat."""

from __future__ import annotations

from flows.graph import Graph, Handle
from flows.runner import Runner
from flows.settings import Settings


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
