"""A flow's steps and how they are connected, recorded before anything runs, so that wiring mistakes cost nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.contract.spec import ARTIFACT_TYPES, Spec, load_spec
from components.errors import WiringError, nearest

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
    """One step: a component, the section of params.yaml that it reads, and where its inputs come from."""

    name: str
    section: str
    spec: Spec
    inputs: dict[str, tuple[Handle, ...]]
    doc: str = ""

    def __getitem__(self, port: str) -> Handle:
        """`node["dataset"]` is the handle of the output port `dataset`."""
        outputs = self.spec.outputs
        if port not in outputs:
            raise WiringError(f"step {self.name}: no output '{port}'.{nearest(port, outputs)}")
        return Handle(self.name, port, outputs[port].type)

    def of_type(self, type_name: str) -> Handle:
        """The one output of this type."""
        ports = [port.name for port in self.spec.outputs.values() if port.type == type_name]
        if len(ports) != 1:
            found = ", ".join(ports) or "none"
            raise WiringError(f"step {self.name}: must have one output of type {type_name} (got {found}). Name a port.")
        return self[ports[0]]


@dataclass
class Graph:
    """Steps in the order in which they were written, which is an order in which they can run."""

    nodes: dict[str, Node] = field(default_factory=dict)

    def step(
        self,
        component: str,
        /,
        *,
        name: str = "",
        section: str = "",
        doc: str = "",
        **inputs: Handle | Sequence[Handle] | None,
    ) -> Node:
        """Add a step and check its wiring.

        `name` tells it from other steps of this flow, `section` is where its parameters stand in params.yaml; both are
        the component's name unless they are given. `doc`: what this step is for, where the component's summary is not
        enough.
        """
        spec = load_spec(component)
        node = Node(name or component, section or component, spec, {}, doc or spec.summary)
        if node.name in self.nodes:
            raise WiringError(f"step {node.name}: stands twice in the flow. Give the second one another name.")
        for port, given in inputs.items():
            if port not in spec.inputs:
                raise WiringError(f"step {node.name}: no input '{port}'.{nearest(port, spec.inputs)}")
            if given:  # an empty list is the same as None: the identity knows no difference
                node.inputs[port] = (given,) if isinstance(given, Handle) else tuple(given)
                _check(node, port)
        for port, declared in spec.inputs.items():
            if not declared.optional and not node.inputs.get(port):
                raise WiringError(f"step {node.name}: input '{port}' ({declared.type}) is not connected. Connect it.")
        self.nodes[node.name] = node
        return node

    def by_types(self, component: str, offered: Mapping[str, Callable[[], Handle]], **known: Handle) -> Node:
        """Add a step whose inputs are found by their types: `offered` has a function that gives (or first makes) the
        artifact of a type. Optional inputs stay unconnected unless they are `known`: only whoever knows why they are
        there can fill them."""
        wired: dict[str, Any] = {**known}
        for port in load_spec(component).inputs.values():
            if port.optional:
                continue
            if port.type not in offered:
                raise WiringError(
                    f"step {component}: needs a {port.type} (input '{port.name}'), which this flow cannot give it. "
                    f"It has {', '.join(offered)}. Make it before, or leave {component} out."
                )
            wired[port.name] = offered[port.type]()
        return self.step(component, **wired)

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

    def as_data(self) -> list[dict[str, object]]:
        """The graph as plain data, for whoever does not import it."""
        return [
            {
                "step": node.name,
                "component": node.spec.name,
                "section": node.section,
                "doc": node.doc,
                "inputs": {port: [str(handle) for handle in handles] for port, handles in node.inputs.items()},
            }
            for node in self.nodes.values()
        ]


def _check(node: Node, port: str) -> None:
    declared, handles = node.spec.inputs[port], node.inputs[port]
    if len(handles) > 1 and not declared.many:
        raise WiringError(f"step {node.name}: input '{port}' takes one artifact (got {len(handles)}). Connect one.")
    for handle in handles:
        if handle.type != declared.type:
            raise WiringError(
                f"step {node.name}: input '{port}' takes a {declared.type} (got {handle}, a {handle.type}). Rewire it."
            )
