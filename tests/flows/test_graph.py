"""Wiring mistakes are found before anything runs."""

from pathlib import Path

import pytest

from components.contract.spec import Port, Spec
from components.errors import WiringError
from flows import graph as graph_module
from flows.graph import Graph, Handle


def toy(name: str, inputs: dict[str, Port], outputs: dict[str, Port]) -> Spec:
    return Spec(name, "1", "a toy", True, inputs, outputs, {"cpu": 1})


TOYS = {
    "source": toy("source", {}, {"feedback": Port("feedback", "feedback")}),
    "merge": toy(
        "merge", {"feedback": Port("feedback", "feedback", many=True)}, {"dataset": Port("dataset", "dataset")}
    ),
    "rate": toy(
        "rate",
        {"samples": Port("samples", "samples"), "against": Port("against", "samples", optional=True)},
        {"verdicts": Port("verdicts", "decision"), "name": Port("name", "feedback")},
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


def test_the_graph_as_data_says_what_a_step_is_and_where_its_inputs_come_from(graph: Graph) -> None:
    one = graph.step("source")["feedback"]
    two = graph.step("source", name="second", section="votes", doc="once more")["feedback"]
    graph.step(
        "train", dataset=graph.step("merge", feedback=[one, two])["dataset"], start=Graph.external("policy", Path("p"))
    )
    names = [(step["step"], step["component"], step["section"], step["doc"]) for step in graph.as_data()]
    assert names == [
        ("source", "source", "source", "a toy"),
        ("second", "source", "votes", "once more"),
        ("merge", "merge", "merge", "a toy"),
        ("train", "train", "train", "a toy"),
    ]
    assert [step["inputs"] for step in graph.as_data()[2:]] == [
        {"feedback": ["source.feedback", "second.feedback"]},
        {"dataset": ["merge.dataset"], "start": ["external:p"]},
    ]


def test_only_ancestors_are_needed(graph: Graph) -> None:
    graph.step("source", name="unrelated")
    merged = graph.step("merge", feedback=graph.step("source")["feedback"])
    assert [node.name for node in graph.needed_for(merged["dataset"])] == ["source", "merge"]


def test_an_optional_input_may_be_none(graph: Graph) -> None:
    merged = graph.step("merge", feedback=[graph.step("source")["feedback"]])
    assert "start" not in graph.step("train", dataset=merged["dataset"], start=None).inputs


def test_an_empty_list_connects_nothing(graph: Graph) -> None:
    """As None does: the component's own identity has no port without artifacts."""
    assert graph.step("source").inputs == {}
    with pytest.raises(WiringError, match="input 'feedback' \\(feedback\\) is not connected"):
        graph.step("merge", feedback=[])


def test_a_port_may_have_any_name_and_is_found_by_its_type(graph: Graph) -> None:
    rated = graph.step("rate", samples=Graph.external("samples", Path("s")))
    assert rated["name"] == rated.of_type("feedback")
    with pytest.raises(WiringError, match=r"must have one output of type policy \(got none\)"):
        rated.of_type("policy")


def test_required_inputs_are_found_by_type_and_what_gives_them_is_asked_once_needed(graph: Graph) -> None:
    asked = []

    def samples() -> Handle:
        asked.append("samples")
        return Graph.external("samples", Path("s"))

    offered = {"samples": samples, "feedback": lambda: graph.step("source")["feedback"]}
    graph.by_types("source", offered)
    assert asked == []
    rated = graph.by_types("rate", offered)
    assert (asked, list(rated.inputs)) == (["samples"], ["samples"]), "an optional input of the same type stays open"
    with pytest.raises(WiringError, match=r"step train: needs a dataset .* It has samples, feedback"):
        graph.by_types("train", offered)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda g: g.step("train", dataset=g.step("source")["feedback"]), "takes a dataset"),
        (lambda g: g.step("train"), "is not connected"),
        (lambda g: g.step("merge", feedbak=g.step("source")["feedback"]), "Did you mean 'feedback'"),
        (lambda g: g.step("source")["feedbak"], "Did you mean 'feedback'"),
        (lambda g: (g.step("source"), g.step("source")), "twice"),
        (lambda g: Graph.external("polcy", Path("p")), "Did you mean 'policy'"),
    ],
)
def test_wiring_mistakes(graph: Graph, wrong, message: str) -> None:
    with pytest.raises(WiringError, match=message):
        wrong(graph)


def test_a_port_for_one_artifact_refuses_two(graph: Graph) -> None:
    merged = graph.step("merge", feedback=graph.step("source")["feedback"])["dataset"]
    with pytest.raises(WiringError, match="takes one artifact"):
        graph.step("train", dataset=[merged, merged])
