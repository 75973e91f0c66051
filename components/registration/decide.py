"""What happens to a registered version: refused, challenger, or champion. Each decision is taken once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.registration.gate import PASS, failing
from components.registry import CHALLENGER, ChampionChanged, Registry, VersionInfo

BY = "registration"


def decide(registry: Registry, info: VersionInfo, decision: Mapping[str, Any], compared: str, *, promote: bool) -> str:
    """Move the aliases as the gate says and write it down; returns what happened, in words.

    `compared` is the content id of the champion in the report ("" for none). A version that was decided on before stays
    as it is: a person may have rolled it back since.
    """
    name, version = info.name, info.version
    if registry.decided(name, version):
        return "decided before: nothing changed"
    if decision["verdict"] != PASS:
        reason = refusal(decision)
        registry.note(name, version, "refuse", by=BY, reason=reason)
        return f"refused: {reason}"
    champion = registry.champion(name)
    if champion is not None and champion.content_id == info.content_id:
        return _keep(registry, info, f"version {champion.version}, the champion, is the same policy")
    registry.promote(name, version, alias=CHALLENGER, by=BY, reason="the gate passed")
    if not promote:
        return _keep(registry, info, "registration.promote is false")
    if champion is not None and champion.content_id != compared:
        return _keep(registry, info, _not_compared(champion.version, compared))
    try:
        registry.promote(name, version, by=BY, reason="the gate passed", over=champion.version if champion else 0)
    except ChampionChanged as changed:
        return _keep(registry, info, str(changed))
    return "promoted to champion"


def refusal(decision: Mapping[str, Any]) -> str:
    """The failing checks by name, short enough for a ledger entry."""
    names = failing(decision)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"gate: {'; '.join(name[:200] for name in names[:3])}{more}"


def _keep(registry: Registry, info: VersionInfo, reason: str) -> str:
    registry.note(info.name, info.version, "keep", by=BY, reason=reason)
    return f"not promoted: {reason}"


def _not_compared(champion: int, compared: str) -> str:
    against = f"with policy {compared}" if compared else "with none"
    return f"not compared with the current champion, version {champion} (the report compares {against})"
