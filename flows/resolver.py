"""What each handle of a graph is, as far as that is known: for a run, a plan, and a single step alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.artifacts import content_id
from components.contract.record import Ids, Record, identity
from flows.graph import EXTERNAL, Handle, Node
from flows.settings import Settings


@dataclass(frozen=True)
class Artifact:
    """An artifact that exists: its content id, where it lies (if it lies on this machine), and which run made it."""

    id: str
    path: Path | None = None
    made_by: str = ""


@dataclass
class Resolver:
    """Handles to artifacts, nodes to identities. `records` holds the record of every step that is known to be done."""

    settings: Settings
    records: dict[str, Record] = field(default_factory=dict)
    _external: dict[Path, str] = field(default_factory=dict)

    def knows(self, handle: Handle) -> bool:
        """Its content is known: it came from outside and is there, or its step is done."""
        if handle.path is not None:
            return handle.path.exists()
        return handle.step == EXTERNAL or handle.step in self.records

    def artifact(self, handle: Handle) -> Artifact:
        """What a handle that is known stands for."""
        if handle.path is not None:
            if handle.path not in self._external:  # hashed once: a big folder may be an input of several steps
                self._external[handle.path] = content_id(handle.path)
            return Artifact(self._external[handle.path], handle.path, handle.made_by)
        if handle.step == EXTERNAL:
            return Artifact(handle.id, None, handle.made_by)
        record = self.records[handle.step]
        return Artifact(record.outputs[handle.port], self.settings.output(handle.step, handle.port), record.identity)

    def missing(self, node: Node) -> list[Handle]:
        """The inputs of a step that are not known yet."""
        return [handle for handles in node.inputs.values() for handle in handles if not self.knows(handle)]

    def ids(self, node: Node) -> Ids:
        """Content ids of a step's inputs, all of which are known."""
        return {
            port: sorted(self.artifact(handle).id for handle in handles)
            if node.spec.inputs[port].many
            else self.artifact(handles[0]).id
            for port, handles in node.inputs.items()
        }

    def outputs(self, node: Node) -> dict[str, Path]:
        return {port: self.settings.output(node.name, port) for port in node.spec.outputs}

    def params(self, node: Node) -> dict[str, Any]:
        return self.settings.section(node)

    def identity(self, node: Node) -> str:
        """What a step *is*: its inputs are all known."""
        return identity(node.spec.ref, self.params(node), self.ids(node))
