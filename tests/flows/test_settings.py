"""params.yaml, a profile over it, `--set` over both."""

from pathlib import Path

import pytest
import yaml

from components.artifacts import content_id
from components.errors import ArtifactError, ParamsError, WiringError
from flows import profile as profile_module
from flows.profile import load_profile, profile_names
from flows.settings import load_settings


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params.yaml").write_text("train: {lr: 0.1, objective: {name: dpo, beta: 0.1}}\n")
    profiles = tmp_path / "profiles"
    profiles.mkdir()
    (profiles / "big.yaml").write_text("raw: $HERE/feedback\nparams: {train: {lr: 0.2}}\n")
    (profiles / "wrong.yaml").write_text("params: {trian: {lr: 0.2}}\n")
    monkeypatch.setattr(profile_module, "PROFILES", profiles)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HERE", str(tmp_path))
    return tmp_path


def test_overrides_win_over_the_profile_which_wins_over_the_file(project: Path) -> None:
    assert load_settings("align").params["train"]["lr"] == 0.1
    assert load_settings("align", "big").params["train"]["lr"] == 0.2
    assert load_settings("align", "big", overrides=("train.lr=0.3",)).params["train"]["lr"] == 0.3
    assert yaml.safe_load((project / "params.yaml").read_text())["train"]["lr"] == 0.1


def test_a_base_model_without_a_revision_gets_that_of_its_folder(project: Path) -> None:
    """It is part of the identity then; what params.yaml does not hold leaves dvc.lock alone."""
    model = project / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    with (project / "params.yaml").open("a") as stream:
        stream.write(f"base_model: {{source: {model}, revision: ''}}\n")
    found = load_settings("align")
    assert (found.params["base_model"]["revision"], found.overridden) == (content_id(model), True)
    given = load_settings("align", overrides=("base_model.revision=abc",))
    assert given.params["base_model"]["revision"] == "abc"


def test_a_knob_of_a_choice_can_be_set(project: Path) -> None:
    set_beta = load_settings("align", overrides=("train.objective.beta=0.5",)).params["train"]["objective"]
    assert set_beta == {"name": "dpo", "beta": 0.5}


def test_every_flow_and_profile_has_its_own_workspace(project: Path) -> None:
    places = {load_settings(flow, profile).output("s", "p") for flow in ("align", "retrain") for profile in ("", "big")}
    assert len(places) == 4
    assert load_settings("align").output("train", "policy") == Path("artifacts/align/train/policy")


def test_raw_feedback_of_a_profile_may_use_variables_and_must_exist(project: Path) -> None:
    assert load_settings("align").raw_feedback() is None
    with pytest.raises(ArtifactError, match="does not exist"):
        load_settings("align", "big").raw_feedback()
    (project / "feedback").mkdir()
    handle = load_settings("align", "big").raw_feedback()
    assert handle is not None
    assert handle.path == project / "feedback"


def test_a_policy_that_judges_stands_in_the_profile(project: Path) -> None:
    """Only where a section asks one; a missing one is named before anything runs."""
    local = ("llm_feedback.judge={name: local}",)
    (project / "params.yaml").write_text("llm_feedback: {}\nverdicts: {judge: {name: simulated}}\n")
    (project / "profiles" / "judged.yaml").write_text("judge: $HERE/judge\n")
    assert load_settings("align", "judged").judges() == {}
    with pytest.raises(ArtifactError, match=r"judge: .* does not exist"):
        load_settings("align", "judged", overrides=local).wire()
    with pytest.raises(WiringError, match="step llm_feedback: its judge is a policy, and the profile names none"):
        load_settings("align", overrides=local).wire()
    (project / "judge").mkdir()
    graph, _ = load_settings("align", "judged", overrides=local).wire()
    asked = {
        name: str(node.inputs["model"][0])
        for name, node in graph.nodes.items()
        if node.spec.name == "llm_feedback" and "model" in node.inputs
    }
    assert asked == {"llm_feedback": f"external:{project / 'judge'}"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"profile": "bgi"}, "Did you mean 'big'"),
        ({"profile": "wrong"}, "Did you mean 'train'"),
        ({"overrides": ("tarin.lr=1",)}, "Did you mean 'train'"),
        ({"overrides": ("train.lr",)}, "KEY=VALUE"),
        ({"overrides": ("train=1",)}, "SECTION.KEY=VALUE"),
    ],
)
def test_mistakes_name_the_nearest_right_thing(project: Path, arguments, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        load_settings("align", **arguments)


def test_every_shipped_profile_is_valid() -> None:
    for name in profile_names():
        assert load_profile(name).summary, f"profile {name} needs a summary"


def test_every_mistake_in_a_parameter_is_named_before_anything_runs(project: Path) -> None:
    """A key that only the last step reads must not fail after hours of training."""
    (project / "params.yaml").write_text("registration: {promot: true}\n")
    with pytest.raises(ParamsError, match="Did you mean 'promote'"):
        load_settings("align")


def test_another_objective_does_not_inherit_knobs(project: Path) -> None:
    text = "policy_optimization: {objective: {name: dpo, beta: 0.2}}\n"
    (project / "params.yaml").write_text(text)
    chosen = load_settings("align", overrides=("policy_optimization.objective.name=ipo",)).params
    assert chosen["policy_optimization"]["objective"] == {"name": "ipo"}
    kept = load_settings("align", overrides=("policy_optimization.objective.beta=0.3",)).params
    assert kept["policy_optimization"]["objective"] == {"name": "dpo", "beta": 0.3}


def test_blocks_that_sections_share_are_no_section(project: Path) -> None:
    """An alias is a copy once the file is read: to change the block afterwards would change nothing."""
    text = (
        "shared: {compute: &compute {threads: 1}}\ntrain: {compute: *compute}\nagain: {compute: {<<: *compute, x: 1}}\n"
    )
    (project / "params.yaml").write_text(text)
    params = load_settings("align", overrides=("train.compute.threads=2",)).params
    assert params == {"train": {"compute": {"threads": 2}}, "again": {"compute": {"threads": 1, "x": 1}}}
    with pytest.raises(ParamsError, match="Set the step's own key"):
        load_settings("align", overrides=("shared.compute.threads=2",))


def test_rounds_are_for_flows_that_have_some(project: Path) -> None:
    with pytest.raises(ParamsError, match="--iterations 3: the flow align goes round once"):
        load_settings("align", iterations=3)


def test_an_execution_setting_is_no_part_of_what_a_step_is(project: Path) -> None:
    """It reaches the step, and the identity is as before."""
    (project / "params.yaml").write_text("policy_optimization: {seed: 0}\n")
    before = load_settings("align")
    after = load_settings("align", overrides=("policy_optimization.optimization.checkpoint_every=7",))
    node = before.wire()[0].nodes["policy_optimization"]
    assert after.params["policy_optimization"]["optimization"] == {"checkpoint_every": 7}
    assert before.section(node) == after.section(node)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("params.yaml", "train: 5", "train: must be a mapping of parameters .got 5 in params.yaml"),
        ("params.yaml", "1: {lr: 0.1}", "a key must be text .got 1"),
        ("params.yaml", "a: &a [*a]", "not valid YAML .*holds itself"),
        ("params.yaml", "[" * 5000, "not valid YAML .*deeper than"),
        (
            "profiles/big.yaml",
            "params: {train: [1]}",
            r"train: must be a mapping of parameters .got \[1\] in what is laid",
        ),
        ("profiles/big.yaml", "params: {train: {lr: !!bool x}}", "not valid YAML .*not what its form says"),
    ],
)
def test_what_a_file_cannot_mean_is_named(project: Path, file: str, text: str, message: str) -> None:
    (project / file).write_text(text)
    with pytest.raises(ParamsError, match=message):
        load_settings("align", "big")


def test_a_value_on_the_command_line_is_bounded_too(project: Path) -> None:
    for value in ("[" * 5000, "9" * 5000, "!!timestamp x"):
        with pytest.raises(ParamsError, match="the value is not valid YAML"):
            load_settings("align", overrides=(f"train.lr={value}",))


def test_a_section_or_block_that_is_empty_takes_the_defaults(project: Path) -> None:
    (project / "params.yaml").write_text("base_model: {source: tiny, tiny: }\n")
    assert load_settings("align").params["base_model"]["tiny"] is None
    (project / "params.yaml").write_text("base_model:\n")
    assert load_settings("align").params["base_model"] is None
