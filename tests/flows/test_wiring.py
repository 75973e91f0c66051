"""The graphs of the flows: their steps, and what feedback, witnesses, a champion and rounds change in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.contract import spec as spec_module
from components.contract.spec import Spec, all_specs, parse_spec
from components.errors import UserError, WiringError
from flows.catalogue import FLOWS, flow_graph, load_flow, section_components
from flows.graph import Graph, Node
from flows.profile import Layout

CHAMPION = Graph.stored("policy", "champion", "c" * 32 + ".dir", "")
TOY = """\
name: echo_feedback
version: "1"
summary: Prefers what the base model would say again.
deterministic: true
inputs:
  said: {type: samples, doc: answers}
  by: {type: policy, doc: who said it}
  before: {type: feedback, doc: "what people said", optional: true}
outputs:
  records: {type: feedback}
  log: {type: decision}
resources: {cpu: 1}
"""


def nodes(flow: str, **layout: object) -> dict[str, Node]:
    return flow_graph(flow, Layout(**layout))[0].nodes  # type: ignore[arg-type]


def inputs(node: Node) -> dict[str, list[str]]:
    return {port: [str(handle) for handle in handles] for port, handles in node.inputs.items()}


@pytest.fixture
def echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spec:
    """A component of which no flow has heard: only its spec."""
    path = tmp_path / "echo_feedback" / "component.yaml"
    path.parent.mkdir()
    path.write_text(TOY)
    made = parse_spec(path)
    more = {**all_specs(), made.name: made}
    monkeypatch.setattr(spec_module, "all_specs", lambda: more)
    return made


def test_a_new_source_of_feedback_is_wired_by_the_types_of_its_ports(echo: Spec) -> None:
    made = nodes("align", feedback=("human_feedback", echo.name))
    assert inputs(made[echo.name]) == {"said": ["response_sampling.samples"], "by": ["base_model.policy"]}
    assert inputs(made["feedback_curation"])["feedback"] == ["human_feedback.feedback", "echo_feedback.records"]
    assert "llm_feedback" not in made


def test_what_no_source_needs_is_not_made() -> None:
    made = nodes("align", feedback=("human_feedback",), witnesses=("scoring",))
    assert not {"response_sampling", "llm_feedback", "heuristic_feedback", "judge_vs_reference"} & set(made)
    assert inputs(made["feedback_curation"])["feedback"] == ["human_feedback.feedback"]
    assert "verdicts" not in inputs(made["evaluation"])


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"feedback": ("scoring",)}, "must have one output of type feedback"),
        ({"feedback": ("policy_optimization",)}, "needs a dataset"),
        ({"witnesses": ("scorring",)}, "Did you mean 'scoring'"),
    ],
)
def test_a_component_in_the_wrong_place_is_named(layout: dict[str, object], message: str) -> None:
    with pytest.raises(WiringError, match=message):
        nodes("align", **layout)


def test_the_evaluation_of_align_is_split_along_its_artifacts() -> None:
    made = nodes("align")
    assert list(made)[9:] == [
        "candidate_answers",
        "reference_answers",
        "candidate_likelihood",
        "reference_likelihood",
        "reward_scores",
        "judge_vs_reference",
        "evaluation",
        "registration",
    ]
    sections = {name: node.section for name, node in made.items() if node.section != name}
    assert sections == {
        "candidate_answers": "answers",
        "reference_answers": "answers",
        "candidate_likelihood": "scoring",
        "reference_likelihood": "scoring",
        "reward_scores": "scoring",
        "judge_vs_reference": "verdicts",
    }
    assert inputs(made["evaluation"]) == {
        "candidate": ["candidate_answers.samples"],
        "reference": ["reference_answers.samples"],
        "dataset": ["feedback_curation.dataset"],
        "policy": ["policy_optimization.policy"],
        "scores": ["candidate_likelihood.scores", "reference_likelihood.scores", "reward_scores.scores"],
        "verdicts": ["judge_vs_reference.verdicts"],
    }


def test_a_champion_brings_its_own_answers_scores_and_verdicts() -> None:
    made = nodes("retrain", champion=CHAMPION)
    assert set(made) - set(nodes("align")) == {"champion_answers", "champion_likelihood", "judge_vs_champion"}
    assert inputs(made["reward_scores"])["against"] == ["reference_answers.samples", "champion_answers.samples"]
    assert inputs(made["reference_likelihood"])["samples"] == ["candidate_answers.samples", "champion_answers.samples"]
    assert inputs(made["judge_vs_champion"])["against"] == ["champion_answers.samples"]
    assert "samples" not in inputs(made["champion_likelihood"])


def test_a_policy_judges_in_the_sections_that_ask_one() -> None:
    policy = Graph.external("policy", Path("judge"))
    both = nodes("retrain", champion=CHAMPION, judges={"llm_feedback": policy, "verdicts": policy})
    asked = {name for name, node in both.items() if inputs(node).get("model") == ["external:judge"]}
    assert asked == {"llm_feedback", "judge_vs_reference", "judge_vs_champion"}
    one = nodes("align", judges={"verdicts": policy})
    assert {name for name, node in one.items() if policy in node.inputs.get("model", ())} == {"judge_vs_reference"}


def test_retrain_without_a_champion_is_align() -> None:
    assert flow_graph("retrain")[0].as_data() == flow_graph("align")[0].as_data()


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_rounds_are_steps_of_one_graph_each_starting_from_the_last(rounds: int) -> None:
    made = nodes("online_alignment", iterations=rounds)
    start = "base_model.policy"
    for number in range(1, rounds + 1):
        assert inputs(made[f"rollouts_{number}"])["policy"] == [start]
        assert inputs(made[f"best_of_n_{number}"]) == {
            "samples": [f"rollouts_{number}.samples"],
            "scores": [f"rollout_scores_{number}.scores"],
        }
        assert inputs(made[f"best_of_n_tuning_{number}"])["policy"] == [start]
        start = f"best_of_n_tuning_{number}.policy"
    assert inputs(made["registration"])["policy"] == [start]
    assert f"rollouts_{rounds + 1}" not in made


def test_the_reward_model_that_chose_the_answers_does_not_score_the_result() -> None:
    made = nodes("online_alignment")
    assert inputs(made["rollout_scores_1"])["model"] == ["reward_modeling.model"]
    assert inputs(made["reward_scores"])["model"] == ["second_reward_modeling.model"]


def test_every_section_has_one_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    readers = section_components()
    assert (readers["answers"], readers["verdicts"]) == ("response_sampling", "llm_feedback")
    assert set(readers.values()) == set(all_specs())

    def two(at: Graph, layout: Layout) -> Node:
        raw = at.step("simulated_feedback")["raw"]
        return at.step("human_feedback", section="simulated_feedback", raw=raw)

    monkeypatch.setitem(FLOWS, "wrong", FLOWS["align"].__class__("", two))
    with pytest.raises(WiringError, match="section 'simulated_feedback' is read by simulated_feedback and by human_fe"):
        section_components()


def test_every_flow_can_be_deployed() -> None:
    """`preflow run NAME` and the deployments start a Prefect flow of that name."""
    from flows import deployed

    assert {getattr(deployed, name).name for name in FLOWS} == set(FLOWS)
    with pytest.raises(UserError, match="Did you mean 'align'"):
        load_flow("algin")
