"""`Registry`: put aligned models in, find them again, and move champion and challenger with a history."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from components import artifacts
from components.contract.record import Record, parse_record, record_path
from components.contract.run import home
from components.errors import GateError, PreflowError, UserError
from components.locks import file_lock
from components.registry import ledger as chain
from components.registry import upload
from components.registry.connection import Connection, default_uri, facts
from components.registry.ledger import CHALLENGER, CHAMPION, Entry
from components.registry.models import Models, read_ledger
from components.registry.version import CONTENT_ID, IDENTITY, PASSED, VersionInfo
from components.registry.writing import point, writing

RECORD = "record.json"  # the policy's own record, beside the weights: it makes a download an artifact with a lineage


class ChampionChanged(UserError):
    """The champion is not the one that the caller compared with."""


class Registry:
    """Aligned models in MLflow. Nothing is contacted before the first call.

    Versions are numbers, or "@champion" and "@challenger". Errors: UserError for an unknown name or version,
    ArtifactError for stored content that is damaged, PreflowError for a server that does not answer.
    """

    def __init__(self, tracking_uri: str | None = None) -> None:
        self.uri = tracking_uri or default_uri()

    @cached_property
    def _client(self) -> Connection:
        return Connection(self.uri)

    @cached_property
    def _models(self) -> Models:
        return Models(self._client)

    # ---- reading

    def names(self) -> list[str]:
        """Every registered model."""
        return self._models.names()

    def holds(self, info: VersionInfo) -> bool:
        """The files of a version are there (existence only; `download` verifies the bytes)."""
        return bool(self._client.list_artifacts(info.run_id, upload.POLICY))

    def find(self, identity: str) -> VersionInfo | None:
        """The version that a registration with this identity made; None if there is none."""
        found = self._models.search(f"tags.`{IDENTITY}` = '{identity}'")
        return min(found, key=lambda info: info.version, default=None)

    def versions(self, name: str) -> list[VersionInfo]:
        """All versions, newest first."""
        self._models.model(name)
        return sorted(self._models.search(f"name = '{name}'"), key=lambda info: -info.version)

    def version(self, name: str, version: int | str) -> VersionInfo:
        """One version by number or "@alias"."""
        self._models.model(name)
        if isinstance(version, str) and version.startswith("@"):
            number = self._models.number(name, version[1:])
            if number is None:
                raise UserError(f"model {name}: no version is {version}. See `preflow models list`.")
            version = number
        versions = {info.version: info for info in self.versions(name)}
        if not str(version).isdecimal() or int(version) not in versions:
            known = ", ".join(map(str, sorted(versions)))
            raise UserError(f"model {name}: no version {version}. Versions: {known or 'none'}.")
        return versions[int(version)]

    def champion(self, name: str) -> VersionInfo | None:
        """The version that the ledger and the alias call champion; None if there is none, or no such model."""
        return self._by_alias(name, CHAMPION)

    def challenger(self, name: str) -> VersionInfo | None:
        """The last version that passed its gate and waits for promotion."""
        return self._by_alias(name, CHALLENGER)

    def _by_alias(self, name: str, alias: str) -> VersionInfo | None:
        number = self._models.number(name, alias)
        return None if number is None else self.version(name, number)

    def ledger(self, name: str) -> list[Entry]:
        """Every decision on this model, oldest first. Raises ArtifactError if the chain is broken."""
        return read_ledger(self._models.model(name))

    def record(self, name: str, version: int | str) -> Record | None:
        """How the policy of this version was made; None if it came from outside preflow."""
        info = self.version(name, version)
        text = self.read_text(info, RECORD)
        return None if text is None else parse_record(text, info.ref)

    def read_text(self, info: VersionInfo, path: str) -> str | None:
        """A text file kept with a version, such as `model_card.md` or `gate.json`; None if there is none."""
        return upload.read_text(self._client, info.run_id, path)

    def lineage(self, name: str, version: int | str) -> dict[str, dict[str, Any]]:
        """Every ancestor by content id, the policy's own id included: who made it, from what, with what parameters."""
        record = self.record(name, version)
        if record is None:
            return {self.version(name, version).content_id: {"external": "policy"}}
        return record.as_ancestor()

    def download(self, name: str, version: int | str, to: Path) -> Path:
        """The policy folder of a version at `to` (replaced), with its record beside it. Every byte is verified."""
        info = self.version(name, version)
        to.parent.mkdir(parents=True, exist_ok=True)
        artifacts.clear_leftovers(to)
        temporary = to.with_name(f"{to.name}.tmp-{uuid.uuid4().hex[:8]}")
        try:
            policy = upload.fetch(self._client, info.run_id, upload.POLICY, temporary)
            upload.expect(policy, info.content_id, info.ref)
            record_path(to).unlink(missing_ok=True)
            artifacts.replace(policy, to)
        finally:
            artifacts.remove(temporary)
        text = self.read_text(info, RECORD)
        if text is not None:
            artifacts.write_text(record_path(to), text)
        return to

    # ---- registering

    def register(
        self,
        name: str,
        policy: Path,
        *,
        identity: str,
        tags: Mapping[str, str],
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        metric_history: Mapping[str, Sequence[tuple[int, float]]] | None = None,
        datasets: Sequence[tuple[str, str]] = (),
        files: Mapping[str, Path | str] | None = None,
        description: str = "",
        check: Callable[[Path], None] | None = None,
    ) -> VersionInfo:
        """Store a policy folder as a new version; the same identity gives the same version.

        The version is the last thing made: the policy is uploaded, downloaded again, compared by content id and passed
        to `check` (which raises to refuse it) first. A run that was interrupted is finished by the next call.
        Weights are stored as files, never as an MLflow flavor, so that nothing has to be unpickled or inferred.
        """
        if (done := self._finished(identity)) is not None:
            return done
        oid = artifacts.content_id(policy)
        parts = (tags, params or {}, metrics or {}, metric_history or {}, datasets, files or {})
        job = upload.Upload(name, policy, identity, oid, *parts)
        job.check()
        with file_lock(home() / f"register-{name}.lock"):
            if (done := self._finished(identity)) is not None:
                return done
            self._store(job, description, check)
            info = self._finished(identity)
        assert info is not None
        return info

    def _finished(self, identity: str) -> VersionInfo | None:
        """The version with this identity, its run closed (a crash may have come between the two)."""
        info = self.find(identity)
        if info is not None and self._client.get_run(info.run_id).data.tags.get(upload.STATE) != "complete":
            self._client.set_tag(info.run_id, upload.STATE, "complete")
            self._client.set_terminated(info.run_id, "FINISHED")
        return info

    def _store(self, job: upload.Upload, description: str, check: Callable[[Path], None] | None) -> None:
        client, run_id = self._client, upload.open_run(self._client, job)
        scratch = home() / "registry" / job.identity  # on the disk of the home, where models fit; /tmp may be small
        artifacts.remove(scratch)
        try:
            upload.log(client, run_id, job)
            back = upload.fetch(client, run_id, upload.POLICY, scratch)
            upload.expect(back, job.content_id, f"model {job.name}")
            if check is not None:
                check(back)
            if self._models.look_up(job.name) is None:
                with suppress(PreflowError):  # another client may be faster; any other trouble shows in the next call
                    client.create_registered_model(job.name)
            source = f"runs:/{run_id}/{upload.POLICY}"
            commit = {key: text for key, text in facts().items() if key == "git.commit"}
            marks = {**job.tags, **commit, IDENTITY: job.identity, CONTENT_ID: job.content_id}
            client.create_model_version(
                job.name, source, run_id=run_id, tags=marks, description=description or None, await_creation_for=0
            )
        except Exception:
            with suppress(PreflowError):
                client.set_terminated(run_id, "FAILED")
            raise
        finally:
            artifacts.remove(scratch)

    # ---- deciding

    def promote(
        self,
        name: str,
        version: int | str,
        *,
        by: str,
        reason: str,
        alias: str = CHAMPION,
        over: int | None = None,
        force: bool = False,
    ) -> Entry | None:
        """Point `alias` at a version and write down who did it and why; None if it points there already.

        `over` is the champion that the version was compared with (0: there was none): if another one is champion by
        now, ChampionChanged is raised. A version whose gate did not pass needs `force`, and the ledger says so.
        """
        info = self.version(name, version)
        if info.gate != PASSED and not force:
            why = info.tags.get("gate.reason") or info.gate or "no gate ran"
            raise GateError(f"{info.ref}: its gate did not pass ({why}). Promote it with --force and a reason.")
        if info.gate != PASSED:
            reason = f"[forced, gate: {info.gate or 'none'}] {reason}" if reason.strip() else ""
        with writing(self._models, name, take_over=force) as ledger:
            current = ledger.state.get(alias, 0)
            if over is not None and current != over:
                raise ChampionChanged(
                    f"model {name}: {alias} is version {current or 'none'} by now (compared with {over or 'none'}). "
                    "Evaluate against that one."
                )
            written = chain.aliases(ledger.entries)
            if written.get(alias) == info.version or (
                alias == CHALLENGER and ledger.state.get(CHAMPION) == info.version
            ):
                point(self._models, name, ledger.entries)  # puts an alias back that was moved by hand
                return None
            before = written.get(alias, 0) if current == info.version else current  # equal if it was moved by hand
            entry = ledger.append("promote", (alias, before, info.version), by, reason)
            if info.gate != PASSED:
                self._client.set_model_version_tag(name, str(info.version), "gate.override", f"{by}: {reason}")
            return entry

    def rollback(self, name: str, *, by: str, reason: str) -> Entry:
        """Make the previous champion champion again. Raises UserError if there is none."""
        with writing(self._models, name) as ledger:
            stack = chain.champions(ledger.entries)
            if len(stack) < 2:
                raise UserError(
                    f"model {name}: there is no previous champion to go back to. Promote a version instead."
                )
            self.version(name, stack[-2])  # raises if it was deleted
            return ledger.append("rollback", (CHAMPION, stack[-1], stack[-2]), by, reason)

    def note(self, name: str, version: int, action: Literal["refuse", "keep"], *, by: str, reason: str) -> Entry | None:
        """Write down that a version was refused, or passed and was not promoted; None if that stands there already."""
        with writing(self._models, name) as ledger:
            if any(entry.action == action and entry.after == version for entry in ledger.entries):
                return None
            return ledger.append(action, (CHAMPION, ledger.state.get(CHAMPION, 0), version), by, reason)

    def decided(self, name: str, version: int) -> bool:
        """The ledger holds a decision on this version: promoted to champion, kept or refused."""
        return any(entry.alias == CHAMPION and entry.after == version for entry in self.ledger(name))


def verify(identity: str, name: str) -> bool:
    """What the registration step with this identity did is still true: its version of model `name` is in the registry,
    with its files and a decision in the ledger. Tells a flow whether a cached registration counts."""
    registry = Registry()
    info = registry.find(identity)
    return info is not None and info.name == name and registry.decided(name, info.version) and registry.holds(info)
