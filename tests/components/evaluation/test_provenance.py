"""A reward model that trained the candidate may not judge it."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.contract.record import Record
from components.contract.run import Input
from components.errors import UserError, WiringError
from components.evaluation.provenance import refuse_own_reward_model
from components.evaluation.scores import Scores

MODEL, POLICY, SCORES = "a" * 32 + ".dir", "b" * 32 + ".dir", "f" * 32 + ".dir"


def _check(policy: Record | None, model: dict | None, kind: str = "preference_model") -> None:
    """The policy's record, and what the scores' record knows of the model."""
    known = None if model is None else Record("scoring@1", "9" * 32, {}, {"model": MODEL}, {}, lineage={MODEL: model})
    scores = Scores(Input("scores", "scores", Path("s"), SCORES, known), kind, "scalar", MODEL)
    refuse_own_reward_model(Input("policy", "policy", Path("p"), POLICY, policy), [scores])


def _policy(lineage: dict, inputs: dict | None = None) -> Record:
    return Record("policy_optimization@1", "1" * 32, {}, inputs or {}, {"policy": POLICY}, lineage=lineage)


def test_a_reward_model_among_the_ancestors_is_refused() -> None:
    policy = _policy({MODEL: {"identity": "2" * 32}})
    with pytest.raises(WiringError, match="trained the candidate") as caught:
        _check(policy, None)
    assert isinstance(caught.value, UserError)
    assert MODEL in str(caught.value)


def test_a_direct_input_is_refused_even_without_lineage() -> None:
    with pytest.raises(WiringError):
        _check(_policy({}, {"reward_model": MODEL}), None)


def test_the_same_training_run_is_refused_even_if_its_bytes_came_out_different() -> None:
    """Rerun on another device: another content id, the same identity."""
    ancestor = {"c" * 32 + ".dir": {"identity": "2" * 32}}
    with pytest.raises(WiringError):
        _check(_policy(ancestor), {"identity": "2" * 32})


def test_a_reward_model_of_the_same_data_and_base_is_allowed() -> None:
    shared = {"d" * 32 + ".dir": {"identity": "3" * 32}, "e" * 32: {"external": "raw_feedback"}}
    _check(_policy(shared), {"identity": "2" * 32, "component": "reward_modeling@1"})


def test_a_policy_without_record_cannot_be_checked_and_is_allowed() -> None:
    _check(None, None)


def test_a_policy_that_scores_is_no_reward_model() -> None:
    """The reference is an ancestor of the candidate, and its log-probabilities are asked for."""
    _check(_policy({MODEL: {"identity": "2" * 32}}), {"identity": "2" * 32}, kind="policy")
