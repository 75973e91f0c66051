"""Wiring mistakes are found before anything runs."""

from pathlib import Path

import pytest

from components.contract.spec import Port, Spec
from components.errors import WiringError
from flows import graph as graph_module
from flows.graph import Graph


def toy(name: str, inputs: dict[str, Port], outputs: dict[str, Port]) -> Spec:
    return Spec(name, "1", "a toy", True, inputs, outputs, {"cpu": 1})


TOYS = {
    "source": toy("source", {}, {"feedback": Port("feedback", "feedback")}),
    "merge": toy(
        "merge", {"feedback": Port("feedback", "feedback", many=True)}, {"dataset": Port("dataset", "dataset")}
    ),
    "train": toy(
        "train",
        {"dataset": Port("dataset", "dataset"), "start": Port("start", "policy", optional=True)},
        {"policy": Port("policy", "policy")},
    ),
}


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Graph:
    monkeypatch.setattr(graph_module, "load_spec", TOYS.__getitem__)
    return Graph()


def test_edges_say_where_every_input_comes_from(graph: Graph) -> None:
    one, two = graph.step("source").feedback, graph.step("second", "source").feedback
    graph.step(
        "train", dataset=graph.step("merge", feedback=[one, two]).dataset, start=Graph.external("policy", Path("p"))
    )
    assert graph.edges()[2:] == [
        {"step": "merge", "component": "merge", "inputs": {"feedback": ["source.feedback", "second.feedback"]}},
        {"step": "train", "component": "train", "inputs": {"dataset": ["merge.dataset"], "start": ["external:p"]}},
    ]


def test_only_ancestors_are_needed(graph: Graph) -> None:
    graph.step("unrelated", "source")
    merged = graph.step("merge", feedback=graph.step("source").feedback)
    assert [node.name for node in graph.needed_for(merged.dataset)] == ["source", "merge"]


def test_an_optional_input_may_be_none(graph: Graph) -> None:
    merged = graph.step("merge", feedback=[graph.step("source").feedback])
    assert "start" not in graph.step("train", dataset=merged.dataset, start=None).inputs


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda g: g.step("train", dataset=g.step("source").feedback), "takes a dataset"),
        (lambda g: g.step("train"), "is not connected"),
        (lambda g: g.step("merge", feedbak=g.step("source").feedback), "Did you mean 'feedback'"),
        (lambda g: g.step("source").feedbak, "Did you mean 'feedback'"),
        (lambda g: (g.step("source"), g.step("source")), "twice"),
        (lambda g: Graph.external("polcy", Path("p")), "Did you mean 'policy'"),
    ],
)
def test_wiring_mistakes(graph: Graph, wrong, message: str) -> None:
    with pytest.raises(WiringError, match=message):
        wrong(graph)


def test_a_port_for_one_artifact_refuses_two(graph: Graph) -> None:
    merged = graph.step("merge", feedback=graph.step("source").feedback).dataset
    with pytest.raises(WiringError, match="takes one artifact"):
        graph.step("train", dataset=[merged, merged])
