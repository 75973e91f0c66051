"""A reward model that trained the candidate may not judge it."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.contract.record import Record
from components.contract.run import Input, Inputs
from components.contract.spec import load_spec
from components.errors import UserError, WiringError
from components.evaluation.provenance import refuse_own_reward_model

MODEL, POLICY = "a" * 32 + ".dir", "b" * 32 + ".dir"


def _inputs(policy: Record | None, model: Record | None, model_id: str = MODEL) -> Inputs:
    items = {
        "policy": [Input("policy", "policy", Path("p"), POLICY, policy)],
        "reward_model": [Input("reward_model", "preference_model", Path("m"), model_id, model)],
    }
    return Inputs(items, load_spec("evaluation"))


def _policy(lineage: dict, inputs: dict | None = None) -> Record:
    return Record("policy_optimization@1", "1" * 32, {}, inputs or {}, {"policy": POLICY}, lineage=lineage)


def test_a_reward_model_among_the_ancestors_is_refused() -> None:
    policy = _policy({MODEL: {"identity": "2" * 32}})
    with pytest.raises(WiringError, match="trained the candidate") as caught:
        refuse_own_reward_model(_inputs(policy, None))
    assert isinstance(caught.value, UserError)
    assert MODEL in str(caught.value)


def test_a_direct_input_is_refused_even_without_lineage() -> None:
    with pytest.raises(WiringError):
        refuse_own_reward_model(_inputs(_policy({}, {"reward_model": MODEL}), None))


def test_the_same_training_run_is_refused_even_if_its_bytes_came_out_different() -> None:
    """Rerun on another device: another content id, the same identity."""
    ancestor = {"c" * 32 + ".dir": {"identity": "2" * 32}}
    model = Record("reward_modeling@1", "2" * 32, {}, {}, {"model": MODEL})
    with pytest.raises(WiringError):
        refuse_own_reward_model(_inputs(_policy(ancestor), model))


def test_a_reward_model_of_the_same_data_and_base_is_allowed() -> None:
    shared = {"d" * 32 + ".dir": {"identity": "3" * 32}, "e" * 32: {"external": "raw_feedback"}}
    model = Record("reward_modeling@1", "2" * 32, {}, {}, {"model": MODEL}, lineage=shared)
    refuse_own_reward_model(_inputs(_policy(shared), model))


def test_a_policy_without_record_cannot_be_checked_and_is_allowed() -> None:
    refuse_own_reward_model(_inputs(None, None))
