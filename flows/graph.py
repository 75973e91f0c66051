"""A flow's steps and how they are connected, recorded before anything runs, so that wiring mistakes cost nothing.

`python -m flows.graph align` prints the edges as JSON; `components check` compares them with dvc.yaml.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from components.contract.spec import ARTIFACT_TYPES, Spec, load_spec
from components.errors import PreflowError, WiringError, nearest

EXTERNAL = "external"


@dataclass(frozen=True)
class Handle:
    """One artifact to come: the output `port` of `step`; or (step == "external") one that exists already, at a path
    or, where its steps run, under a content id (`made_by`: the identity of the run that made it)."""

    step: str
    port: str
    type: str
    path: Path | None = None
    id: str = ""
    made_by: str = ""

    def __str__(self) -> str:
        if self.step == EXTERNAL:
            return f"external:{self.id or self.path}"
        return f"{self.step}.{self.port}"


@dataclass(frozen=True)
class Node:
    """One step: a component under a name (its section in params.yaml), and where its inputs come from."""

    name: str
    spec: Spec
    inputs: dict[str, tuple[Handle, ...]]

    def __getattr__(self, port: str) -> Handle:
        """`node.dataset` is the handle of the output port `dataset`."""
        if port.startswith("_"):
            raise AttributeError(port)
        outputs = self.spec.outputs
        if port not in outputs:
            raise WiringError(f"step {self.name}: no output '{port}'.{nearest(port, outputs)}")
        return Handle(self.name, port, outputs[port].type)


@dataclass
class Graph:
    """Steps in the order in which they were written, which is an order in which they can run."""

    nodes: dict[str, Node] = field(default_factory=dict)

    def step(self, name: str, component: str = "", /, **inputs: Handle | Sequence[Handle] | None) -> Node:
        """Add a step and check its wiring. `name` is its section in params.yaml, by default also its component."""
        spec = load_spec(component or name)
        if name in self.nodes:
            raise WiringError(f"step {name}: stands twice in the flow. Give the second one another name.")
        wired: dict[str, tuple[Handle, ...]] = {}
        for port, given in inputs.items():
            if port not in spec.inputs:
                raise WiringError(f"step {name}: no input '{port}'.{nearest(port, spec.inputs)}")
            if given is None:
                continue
            wired[port] = (given,) if isinstance(given, Handle) else tuple(given)
            self._check(name, spec, port, wired[port])
        for port, declared in spec.inputs.items():
            if not declared.optional and not wired.get(port):
                raise WiringError(f"step {name}: input '{port}' ({declared.type}) is not connected. Connect it.")
        self.nodes[name] = Node(name, spec, wired)
        return self.nodes[name]

    @staticmethod
    def _check(name: str, spec: Spec, port: str, handles: tuple[Handle, ...]) -> None:
        declared = spec.inputs[port]
        if len(handles) > 1 and not declared.many:
            raise WiringError(f"step {name}: input '{port}' takes one artifact (got {len(handles)}). Connect one.")
        for handle in handles:
            if handle.type != declared.type:
                raise WiringError(
                    f"step {name}: input '{port}' takes a {declared.type} (got {handle}, a {handle.type}). Rewire it."
                )

    @staticmethod
    def external(type_name: str, path: Path) -> Handle:
        """An artifact that exists already, made outside this flow."""
        if type_name not in ARTIFACT_TYPES:
            raise WiringError(f"external {path}: unknown type '{type_name}'.{nearest(type_name, ARTIFACT_TYPES)}")
        return Handle(EXTERNAL, path.name, type_name, path)

    @staticmethod
    def stored(type_name: str, name: str, oid: str, made_by: str) -> Handle:
        """An artifact that lies in the store which the steps read."""
        return Handle(EXTERNAL, name, type_name, None, oid, made_by)

    def needed_for(self, handle: Handle) -> Iterator[Node]:
        """The steps that make `handle`, ancestors first."""
        wanted: set[str] = set()

        def visit(step: str) -> None:
            if step in self.nodes and step not in wanted:
                wanted.add(step)
                for handles in self.nodes[step].inputs.values():
                    for parent in handles:
                        visit(parent.step)

        visit(handle.step)
        return (node for name, node in self.nodes.items() if name in wanted)

    def edges(self) -> list[dict[str, object]]:
        """The graph as plain data, for comparing."""
        return [
            {
                "step": node.name,
                "component": node.spec.name,
                "inputs": {port: [str(handle) for handle in handles] for port, handles in node.inputs.items()},
            }
            for node in self.nodes.values()
        ]


def flow_graph(name: str) -> Graph:
    """The graph of a flow as it runs with default parameters, nothing executed."""
    from flows.catalogue import FLOWS

    if name not in FLOWS:
        raise WiringError(f"flow '{name}': no such flow.{nearest(name, FLOWS)}")
    graph = Graph()
    FLOWS[name].wire(graph)
    return graph


if __name__ == "__main__":
    try:
        print(json.dumps(flow_graph(sys.argv[1] if len(sys.argv) > 1 else "align").edges(), indent=1))
    except PreflowError as error:
        sys.exit(f"error: {error}")
