"""Champion and challenger on a real MLflow store: who may be promoted, what is written down, what survives a crash."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.errors import ArtifactError, ParamsError, PreflowError, UserError
from components.registry import ChampionChanged, Registry, lock
from components.registry import ledger as chain
from components.registry.ledger import CHALLENGER, CHAMPION
from tests.components.registry.conftest import Add


def aliases(registry: Registry) -> dict[str, int]:
    """What MLflow itself says."""
    return {alias: int(number) for alias, number in registry._client.get_registered_model("m").aliases.items()}


def promote(registry: Registry, version: int, **more: object) -> object:
    return registry.promote("m", version, by="me", reason="why", **more)  # type: ignore[arg-type]


def test_promotion_moves_the_alias_and_is_written_down(registry: Registry, add: Add) -> None:
    add(), add()
    assert registry.champion("m") is None
    promote(registry, 1, alias=CHALLENGER)
    challenger = registry.challenger("m")
    assert challenger is not None
    assert challenger.version == 1
    promote(registry, 1)
    promote(registry, 2)
    champion = registry.champion("m")
    assert champion is not None
    assert (champion.version, champion.aliases) == (2, ("champion",))
    assert registry.version("m", "@champion") == champion
    assert aliases(registry) == {"champion": 2}
    assert [(e.action, e.alias, e.before, e.after) for e in registry.ledger("m")] == [
        ("promote", CHALLENGER, 0, 1),
        ("promote", CHAMPION, 0, 1),
        ("promote", CHAMPION, 1, 2),
    ]
    assert chain.champions(registry.ledger("m")) == [1, 2]
    assert [info.aliases for info in registry.versions("m")] == [("champion",), ()]


def test_promoting_what_is_there_already_writes_nothing(registry: Registry, add: Add) -> None:
    add()
    assert promote(registry, 1) is not None
    assert promote(registry, 1) is None
    assert promote(registry, 1, alias=CHALLENGER) is None
    assert len(registry.ledger("m")) == 1


def test_rollback_goes_back_step_by_step_and_then_says_that_there_is_no_more(registry: Registry, add: Add) -> None:
    for version in (1, 2, 3):
        add()
        promote(registry, version)
    assert registry.rollback("m", by="me", reason="worse in production").after == 2
    assert aliases(registry) == {"champion": 2}
    assert registry.rollback("m", by="me", reason="worse still").after == 1
    with pytest.raises(UserError, match="no previous champion"):
        registry.rollback("m", by="me", reason="again")
    assert aliases(registry) == {"champion": 1}
    assert registry.ledger("m")[-1].reason == "worse still"


def test_a_refused_version_leaves_the_champion_and_needs_force(registry: Registry, add: Add) -> None:
    add(), add(gate="refused"), add(gate="")
    promote(registry, 1)
    registry.note("m", 2, "refuse", by="gate", reason="win_rate")
    assert registry.note("m", 2, "refuse", by="gate", reason="win_rate") is None  # once is enough
    for version in (2, 3):
        with pytest.raises(UserError, match="gate did not pass"):
            promote(registry, version)
    assert aliases(registry) == {"champion": 1}
    assert [entry.action for entry in registry.ledger("m")] == ["promote", "refuse"]
    promote(registry, 2, force=True)
    assert registry.ledger("m")[-1].reason == "[forced, gate: refused] why"
    assert registry.version("m", 2).tags["gate.override"] == "me: [forced, gate: refused] why"
    assert aliases(registry) == {"champion": 2}


def test_force_does_not_replace_the_reason(registry: Registry, add: Add) -> None:
    add(gate="refused")
    with pytest.raises(ParamsError, match="must not be empty"):
        registry.promote("m", 1, by="me", reason=" ", force=True)


def test_a_champion_that_changed_since_the_comparison_stops_the_promotion(registry: Registry, add: Add) -> None:
    add(), add(), add()
    promote(registry, 1, over=0)
    promote(registry, 2, over=1)
    with pytest.raises(ChampionChanged, match="champion is version 2 by now"):
        promote(registry, 3, over=1)
    assert aliases(registry) == {"champion": 2}


def test_decided_means_promoted_kept_or_refused(registry: Registry, add: Add) -> None:
    add(), add(), add()
    promote(registry, 1, alias=CHALLENGER)
    assert not registry.decided("m", 1)
    registry.note("m", 1, "keep", by="me", reason="why")
    registry.note("m", 2, "refuse", by="me", reason="why")
    promote(registry, 3)
    assert [registry.decided("m", version) for version in (1, 2, 3)] == [True, True, True]


def test_a_move_cut_short_is_finished(registry: Registry, add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry is written first: a reader takes it as done, the next writer moves the alias."""
    add(), add()
    promote(registry, 1)

    def crash(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(registry._client._client, "set_registered_model_alias", crash)
        with pytest.raises(KeyboardInterrupt):
            promote(registry, 2)
    assert aliases(registry) == {"champion": 1}
    champion = registry.champion("m")
    assert champion is not None
    assert champion.version == 2
    assert promote(registry, 2) is None
    assert aliases(registry) == {"champion": 2}
    assert len(registry.ledger("m")) == 2


def test_a_champion_moved_outside_is_found_and_can_be_written_down(registry: Registry, add: Add) -> None:
    add(), add(), add()
    promote(registry, 1)
    registry._client.set_registered_model_alias("m", "champion", "2")
    for ask in (
        lambda: registry.champion("m"),
        lambda: promote(registry, 3),
        lambda: registry.rollback("m", by="me", reason="why"),
    ):
        with pytest.raises(ArtifactError, match="moved outside preflow"):
            ask()
    assert aliases(registry) == {"champion": 2}  # nobody touched it
    promote(registry, 3, force=True)
    assert aliases(registry) == {"champion": 3}
    assert registry.ledger("m")[-1].before == 2
    assert registry.rollback("m", by="me", reason="why").after == 2


def test_a_champion_moved_outside_can_be_confirmed(registry: Registry, add: Add) -> None:
    add(), add()
    promote(registry, 1)
    registry._client.set_registered_model_alias("m", "champion", "2")
    promote(registry, 2, force=True)
    champion = registry.champion("m")
    assert champion is not None
    assert champion.version == 2
    assert [(entry.before, entry.after) for entry in registry.ledger("m")] == [(0, 1), (1, 2)]


def test_a_champion_moved_outside_can_be_put_back(registry: Registry, add: Add) -> None:
    add(), add()
    promote(registry, 1)
    registry._client.set_registered_model_alias("m", "champion", "2")
    assert promote(registry, 1, force=True) is None
    assert aliases(registry) == {"champion": 1}
    assert len(registry.ledger("m")) == 1


@pytest.mark.parametrize("gone", [1, 2])
def test_a_lost_entry_stops_everything_even_if_it_was_the_last(registry: Registry, add: Add, gone: int) -> None:
    add(), add()
    promote(registry, 1)
    promote(registry, 2)
    registry._client.delete_registered_model_tag("m", f"ledger.00000{gone}")
    with pytest.raises(ArtifactError, match=f"ledger entry {gone} is missing"):
        registry.champion("m")
    with pytest.raises(ArtifactError, match=f"ledger entry {gone} is missing"):
        promote(registry, 1)


def test_a_rollback_to_a_deleted_version_is_refused(registry: Registry, add: Add) -> None:
    add(), add()
    promote(registry, 1)
    promote(registry, 2)
    registry._client.delete_model_version("m", "1")
    with pytest.raises(UserError, match="no version 1"):
        registry.rollback("m", by="me", reason="why")
    assert aliases(registry) == {"champion": 2}


RACER = """
import sys
from components.registry import Registry
uri, versions = sys.argv[1], [int(v) for v in sys.argv[2].split(",")]
registry = Registry(uri)
registry.names()
print("ready", flush=True)
sys.stdin.readline()
for version in versions:
    registry.promote("m", version, by=f"racer {version % 2}", reason="race")
"""


def test_two_promoters_on_machines_that_share_only_the_registry_end_consistent(
    registry: Registry, add: Add, database: str, tmp_path: Path
) -> None:
    """Each has its own home, so the lock file does not help; the lock tag must."""
    for _ in range(6):
        add()
    racers = []
    for name, versions in (("even", "2,4,6"), ("odd", "1,3,5")):
        environment = {**os.environ, "PREFLOW_HOME": str(tmp_path / name)}
        command = [sys.executable, "-c", RACER, database, versions]
        pipe = subprocess.PIPE
        racers.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment))
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.communicate("go\n")
        assert racer.returncode == 0
    entries = registry.ledger("m")  # a lost or doubled number would break the chain
    assert sorted(entry.after for entry in entries) == [1, 2, 3, 4, 5, 6]
    assert [entry.before for entry in entries[1:]] == [entry.after for entry in entries[:-1]]
    champion = registry.champion("m")
    assert champion is not None
    assert champion.version == entries[-1].after == aliases(registry)["champion"]
    assert not [key for key in registry._models.model("m").tags if key.startswith(lock.LOCK)]


def test_the_lock_of_a_dead_client_is_taken_over_and_a_live_one_is_waited_for(
    registry: Registry, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    add()
    registry._client.set_registered_model_tag("m", "lock.dead", repr(time.time() - lock.STALE - 1))
    promote(registry, 1)
    assert aliases(registry) == {"champion": 1}
    registry._client.set_registered_model_tag("m", "lock.live", repr(time.time()))
    monkeypatch.setattr(lock, "PATIENCE", 0.0)
    with pytest.raises(PreflowError, match="another client has held the registry"):
        registry.rollback("m", by="me", reason="why")
