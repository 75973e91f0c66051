"""Every flow by name: what `preflow run`, `preflow plan`, the deployments and dvc.yaml are made of.

`python -m flows.catalogue` prints them as JSON; `components check` writes dvc.yaml and reads sections from that.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from components.contract.spec import all_specs
from components.errors import PreflowError, UserError, WiringError, nearest
from flows import align, online_alignment
from flows.graph import Graph, Node
from flows.profile import Layout

DEFAULT = Layout()


@dataclass(frozen=True)
class Flow:
    """`wire` adds the steps to a graph and returns the last one. `pipeline`: the dvc.yaml that holds the same graph,
    as it is with default parameters. `loops`: it goes round several times. `beats_champion`: it has one to beat."""

    summary: str
    wire: Callable[[Graph, Layout], Node]
    pipeline: str = ""
    loops: bool = False
    beats_champion: bool = False


FLOWS: dict[str, Flow] = {
    "align": Flow("One pass from feedback to a gated, registered model.", align.wire, pipeline="dvc.yaml"),
    "retrain": Flow(
        "The same with the champion to beat: promote the new policy or keep it.", align.wire, beats_champion=True
    ),
    "online_alignment": Flow(
        "A policy learns from the best of its own answers, round by round.",
        online_alignment.wire,
        pipeline="pipelines/online_alignment/dvc.yaml",
        loops=True,
    ),
}


def load_flow(name: str) -> Flow:
    """A flow by name. Raises UserError with the nearest name."""
    if name not in FLOWS:
        raise UserError(f"flow '{name}': no such flow.{nearest(name, FLOWS)}")
    return FLOWS[name]


def flow_graph(name: str, layout: Layout = DEFAULT) -> tuple[Graph, Node]:
    """The graph of a flow and its last step, nothing executed."""
    graph = Graph()
    return graph, load_flow(name).wire(graph, layout)


def all_steps() -> Iterator[tuple[str, Node]]:
    """Every step of every flow as it is by default, those that a champion brings included."""
    champion = Graph.stored("policy", "champion", "", "")
    for name in FLOWS:
        for node in flow_graph(name, Layout(champion=champion))[0].nodes.values():
            yield name, node


def section_components() -> dict[str, str]:
    """Which component reads a section of params.yaml: what the flows say; a component in no flow reads its own name."""
    found: dict[str, str] = {}
    for name, node in all_steps():
        if found.setdefault(node.section, node.spec.name) != node.spec.name:
            raise WiringError(
                f"flow {name}, step {node.name}: section '{node.section}' is read by {found[node.section]} and by "
                f"{node.spec.name}. Give one of them a section of its own."
            )
    return found | {name: name for name in all_specs() if name not in found.values()}


def _as_data() -> dict[str, object]:
    flows = {name: {"pipeline": flow.pipeline, "summary": flow.summary, "steps": flow_graph(name)[0].as_data()}
             for name, flow in FLOWS.items()}  # fmt: skip
    return {"flows": flows, "sections": section_components()}


if __name__ == "__main__":
    try:
        print(json.dumps(_as_data(), indent=1))
    except PreflowError as error:
        sys.exit(f"error: {error}")
