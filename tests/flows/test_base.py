"""A run knows its base model before it starts: revision pinned, room for answers, layers for LoRA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.artifacts import content_id
from components.errors import ArtifactError, ParamsError
from flows.base import check_base, check_held_out, describe_base, pin_revision
from flows.catalogue import flow_graph
from flows.profile import Layout

GRAPH = flow_graph("align")[0]
# a folder of files stands for the model: what is asked here is read from config.json and the headers of the weights
HEADER = b'{"model.layers.0.self_attn.q_proj.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}'


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"n_positions": 256}')
    (folder / "model.safetensors").write_bytes(len(HEADER).to_bytes(8, "little") + HEADER + bytes(16))
    return folder


def params(source: Path | str, **sections: Any) -> dict[str, Any]:
    return {"base_model": {"source": str(source), "revision": "", "tiny": {"context": 128}}, **sections}


def test_an_open_revision_becomes_the_content_id(model: Path) -> None:
    found = params(model)
    assert pin_revision(found)
    assert found["base_model"]["revision"] == content_id(model)
    assert describe_base(GRAPH, found) == [f"base model: {model} at revision {content_id(model)}"]
    assert describe_base(GRAPH, params("tiny")) == []
    assert not pin_revision(found)  # what is written stays, and base_model compares it
    tiny = params("tiny")
    assert not pin_revision(tiny)
    assert tiny["base_model"]["revision"] == ""


def test_a_hub_id_is_not_looked_up_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled

    def offline(*_: Any, **__: Any) -> None:
        raise OfflineModeIsEnabled("offline")

    monkeypatch.setattr(HfApi, "model_info", offline)
    with pytest.raises(ParamsError, match=r"base_model.source: is no folder.*Add --online"):
        pin_revision(params("org/model"))


@pytest.mark.parametrize(("source", "limit"), [("model", 256), ("tiny", 128)])
def test_answers_must_leave_room_for_a_prompt(model: Path, source: str, limit: int) -> None:
    base = model if source == "model" else source
    check_base(GRAPH, params(base, answers={"sampler": {"max_new_tokens": limit - 1}}))
    with pytest.raises(ParamsError, match=rf"^answers.sampler.max_new_tokens: .* {limit} positions \(got {limit}\)"):
        check_base(GRAPH, params(base, answers={"sampler": {"max_new_tokens": limit}}))


def test_lora_targets_are_checked_by_the_names_in_the_weights(model: Path) -> None:
    lora = {"rank": 4, "targets": ["q_proj", "no_such_layer"]}
    with pytest.raises(
        ParamsError, match=r"^reward_modeling.lora.targets: .*\(got no_such_layer\). Choose from q_proj"
    ):
        check_base(GRAPH, params(model, reward_modeling={"lora": lora}))
    check_base(GRAPH, params(model, reward_modeling={"lora": {**lora, "rank": 0}}))
    check_base(GRAPH, params(model, reward_modeling={"lora": {**lora, "targets": ["all-linear"]}}))
    check_base(GRAPH, params("org/model", reward_modeling={"lora": lora}))  # not known before it is downloaded
    check_base(GRAPH, params(model, best_of_n_tuning={"lora": lora}))  # no step of this flow
    with pytest.raises(ParamsError, match=r"targets: a list of names \(got 'q_proj'\)"):
        check_base(GRAPH, params(model, reward_modeling={"lora": {"rank": 4, "targets": "q_proj"}}))
    with pytest.raises(ParamsError, match=r"targets: a list of names \(got \[\]\)"):
        check_base(GRAPH, params(model, reward_modeling={"lora": {"rank": 4, "targets": []}}))


def test_lora_targets_of_the_tiny_model_are_known_before_it_is_made() -> None:
    def check(*targets: str) -> None:
        check_base(GRAPH, params("tiny", policy_optimization={"lora": {"rank": 2, "targets": targets}}))

    check("q_proj", "mlp.down_proj", "model.layers.0.self_attn.o_proj")
    with pytest.raises(
        ParamsError, match=r"^policy_optimization.lora.targets: .*\(got query_key_value\).*gate_proj, k_proj"
    ):
        check("query_key_value")


def test_a_folder_without_a_model_is_told_before_anything_runs(model: Path) -> None:
    (model / "config.json").unlink()
    with pytest.raises(ArtifactError, match=r"config.json: cannot be read"):
        check_base(GRAPH, params(model))
    with pytest.raises(ParamsError, match="there is no such folder"):
        check_base(GRAPH, params(model / "nothing"))


def test_shared_weights_are_told_in_the_plan_of_a_policy_only() -> None:
    """A section with a reference trains a policy; a preference model has no output layer of the vocabulary."""
    lora = {"lora": {"rank": 4, "targets": ["embed_tokens"]}}
    check_base(GRAPH, params("tiny", reward_modeling={"kind": {"name": "scalar"}, **lora}))
    with pytest.raises(ParamsError, match=r"^policy_optimization.lora.targets: .*shares its weights with lm_head"):
        check_base(GRAPH, params("tiny", policy_optimization={"reference": {"name": "fixed"}, **lora}))


def test_what_is_kept_for_a_test_is_kept_by_every_step_before_it() -> None:
    """test=0.4 with held_out 0.2 would train the base and sample on half of the test prompts."""
    sections = {"feedback_curation": {"validation": 0.1, "test": 0.1}, "response_sampling": {"held_out": 0.2}}
    tiny = params("tiny", **sections)
    tiny["base_model"]["held_out"] = 0.2
    check_held_out(GRAPH, tiny)
    tiny["feedback_curation"]["test"] = 0.4
    with pytest.raises(ParamsError, match=r"params.response_sampling.held_out: .*\(got 0.2, .* = 0.5\)"):
        check_held_out(GRAPH, tiny)
    check_held_out(
        flow_graph("align", Layout(feedback=("human_feedback",)))[0], params("tiny", **sections)
    )  # asks nobody
    tiny["response_sampling"]["held_out"] = 0.5
    with pytest.raises(ParamsError, match=r"params.base_model.held_out: .*Set base_model.held_out=0.5"):
        check_held_out(GRAPH, tiny)
    tiny["base_model"]["source"] = "org/released"  # learned elsewhere: nothing is held out of it
    check_held_out(GRAPH, tiny)
