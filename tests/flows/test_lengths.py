"""Lengths of all steps are compared with each other and with the models before anything runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.errors import ParamsError
from flows.catalogue import flow_graph
from flows.graph import Graph
from flows.lengths import Base, check_lengths, describe_lengths
from flows.profile import Layout

UNKNOWN = Base(known=False)
PARAMS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text(encoding="utf-8"))


def params(
    curation: tuple[int, int] = (1024, 64),
    *,
    policy: int = 1024,
    reward: int = 1024,
    answers: int = 64,
    **sections: Any,
) -> dict[str, Any]:
    return {
        "feedback_curation": {"tokens": {"max_length": curation[0], "max_new_tokens": curation[1]}},
        "reward_modeling": {"max_length": reward},
        "policy_optimization": {"max_length": policy},
        "answers": {"sampler": {"max_new_tokens": answers}},
        **sections,
    }


def check(base: Base, given: dict[str, Any], flow: str = "align", **layout: Any) -> None:
    check_lengths(flow_graph(flow, Layout(**layout))[0], given, base)


def model(folder: Path, **config: Any) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("base", [Base(256), Base(1024), Base(128_000), Base(), UNKNOWN])
@pytest.mark.parametrize("flow", ["align", "retrain", "online_alignment"])
def test_the_parameters_as_they_come_fit_every_model_with_room_for_an_answer(base: Base, flow: str) -> None:
    check(base, PARAMS, flow)


@pytest.mark.parametrize("step", ["policy", "reward"])
def test_a_step_that_would_refuse_rows_of_the_data_set_is_told_before_anything_trains(step: str) -> None:
    """The policy would say so only after the reward model was trained."""
    section = {"policy": "policy_optimization", "reward": "reward_modeling"}[step]
    for base in (Base(1024), Base(), UNKNOWN):
        with pytest.raises(
            ParamsError, match=rf"^{section}.max_length: .*\(got 512 < 1024 tokens\).*tokens.max_length=512"
        ):
            check(base, params(**{step: 512}))  # type: ignore[arg-type]
    check(Base(256), params(**{step: 512}))  # type: ignore[arg-type]  # no row has more than 256
    check(Base(1024), params((512, 64), **{step: 512}))  # type: ignore[arg-type]
    check(Base(1024), params((512, 64), **{step: 2048}))  # type: ignore[arg-type]


def test_test_prompts_leave_room_for_the_answers_that_are_sampled() -> None:
    """Curation keeps prompts of up to 192 tokens for a model with 256 positions: 100 more do not fit."""
    said = (
        r"^answers.sampler.max_new_tokens: .*\(got 100, room for 64\). Set feedback_curation.tokens.max_new_tokens=100"
    )
    for base in (Base(256), Base(1024), Base(1122), UNKNOWN):
        with pytest.raises(ParamsError, match=said):
            check(base, params(answers=100))
    check(Base(1123), params(answers=100))  # the longest prompt has 1023 tokens, with at least one of its answer
    check(Base(), params(answers=100))
    check(Base(256), params((1024, 100), answers=100))
    check(Base(256), params((1024, 100), answers=32))
    check(Base(256), params((150, 64), answers=100))


def test_answers_longer_than_the_model_are_told_wherever_they_are_asked_for() -> None:
    long = {"sampler": {"max_new_tokens": 256}}
    for name, flow in (("response_sampling", "align"), ("rollouts", "online_alignment")):
        with pytest.raises(ParamsError, match=rf"^{name}.sampler.max_new_tokens: .* 256 positions \(got 256\)"):
            check(Base(256), params(**{name: long}), flow)
    check(Base(256), params(rollouts=long), "align")  # no step of this flow
    with pytest.raises(ParamsError, match=r"^feedback_curation.tokens.max_new_tokens: .* 64 positions \(got 64\)"):
        check(Base(64), params())


def test_a_judge_has_its_own_positions(tmp_path: Path) -> None:
    judge = Graph.external("policy", model(tmp_path / "judge", n_positions=512))
    given = params(verdicts={"judge": {"name": "local", "max_tokens": 512}})
    with pytest.raises(ParamsError, match=r"^verdicts.judge.max_tokens: .* 512 positions \(got 512\)"):
        check(Base(4096), given, judges={"verdicts": judge})
    check(Base(64), params((64, 8), answers=8, verdicts={"judge": {"max_tokens": 511}}), judges={"verdicts": judge})
    check(Base(256), given)  # an endpoint knows its own


def test_a_champion_of_fewer_positions_is_told_before_a_challenger_is_trained(tmp_path: Path) -> None:
    champion = Graph.external("policy", model(tmp_path / "champion", max_position_embeddings=256))
    said = r"^step champion_answers: .*champion.*fewer positions.*\(got 256 < {}\). Set .*tokens.max_length={}, or"
    with pytest.raises(ParamsError, match=said.format(1024, 193)):
        check(Base(1024), params(), "retrain", champion=champion)
    with pytest.raises(ParamsError, match=said.format(319, 193)):  # a prompt of 255 tokens, and its answer
        check(Base(1024), params((256, 64)), "retrain", champion=champion)
    check(Base(1024), params((193, 64)), "retrain", champion=champion)
    check(Base(256), params(), "retrain", champion=champion)
    stored = Graph.stored("policy", "champion", "c" * 32 + ".dir", "")  # nothing of it is on this machine
    check(Base(1024), params(), "retrain", champion=stored)


def test_a_model_that_shortens_the_rows_is_told_in_a_line() -> None:
    graph = flow_graph("align")[0]
    said = "the model has 256 positions: feedback_curation keeps rows of up to 256 and test prompts of up to 192 tokens"
    assert describe_lengths(graph, params(), Base(256)) == said
    assert [describe_lengths(graph, params(), base) for base in (Base(1024), Base(), UNKNOWN)] == ["", "", ""]
