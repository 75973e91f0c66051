"""What has been made already, by this machine or by anyone who shares the DVC remote; what it made stays there."""

from __future__ import annotations

from pathlib import Path

from components import artifacts
from components.artifacts import content_id
from components.contract.record import Record, record_path
from components.errors import ArtifactError
from components.remote import Remote
from flows.cache import Cache, Miss
from flows.runner import read_file


class SharedCache(Cache):
    """A hit counts when the remote holds the outputs; what only this machine holds is sent there. Weights are never
    fetched: steps read them from the remote, and `dvc pull` brings them when a person wants them here."""

    def __init__(self, project: Path, remote: Remote) -> None:
        super().__init__(project)
        self.remote = remote

    def find(self, identity: str, paths: dict[str, Path]) -> Record | None:
        return super().find(identity, paths) or self.remote.record(identity)

    def missing(self, record: Record, paths: dict[str, Path]) -> list[str]:
        """Output ports whose recorded content is neither in the remote nor on this machine."""
        return [port for port in super().missing(record, paths) if record.outputs[port] not in self.remote]

    def restore(self, record: Record, paths: dict[str, Path]) -> Miss | None:
        """Make the remote hold every output, and the record lie where it belongs."""
        for port, oid in record.outputs.items():
            if oid in self.remote:
                continue
            if oid not in self.store:
                if not _lies(paths[port], oid):
                    return Miss(f"made before, but output '{port}' ({oid}) is gone")
                self.store.put(paths[port])
            try:
                self.remote.push(oid, self.store)
            except ArtifactError as error:
                return Miss(f"made before, but output '{port}' cannot be sent to the remote: {error}")
        if self.remote.record(record.identity) is None:
            self.remote.put_record(record, {})
        self.settle(record, paths)
        return None

    def settle(self, record: Record, paths: dict[str, Path]) -> None:
        """Write the record beside every output's place; what lies there and is something else makes room."""
        for port, oid in record.outputs.items():
            path = paths[port]
            if path.exists() and content_id(path) != oid:
                record_path(path).unlink(missing_ok=True)
                artifacts.remove(path)
            if oid in self.store and not path.exists():
                self.store.get(oid, path)  # made here before
            record.write(path)

    def keep(self, record: Record, paths: dict[str, Path]) -> None:
        self._index(record)

    def read(self, oid: str, path: Path, name: str) -> bytes | None:
        """One small file of an artifact, from this machine if it is here."""
        if _lies(path, oid):
            return read_file(path, name)
        if not oid.endswith(".dir") or name not in self.remote.listing(oid):
            return None
        return self.remote.read(oid, name)


def _lies(path: Path, oid: str) -> bool:
    return path.exists() and content_id(path) == oid
