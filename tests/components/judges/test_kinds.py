"""The rows of the table of judges: what is refused, what is execution, and that no secret is repeated."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from components.contract import dump, field_docs
from components.errors import ParamsError
from components.judges import JUDGES

ENDPOINT = {"name": "endpoint", "model": "m", "base_url": "http://localhost:8000/v1"}


def built(**change: Any) -> Any:
    return JUDGES.choose("judge", ENDPOINT | change)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": ""}, "model: is required"),
        ({"base_url": ""}, "base_url: must be an http"),
        ({"base_url": "file:///etc/passwd"}, "base_url: must be an http"),
        ({"base_url": "http://me:secret@host/v1"}, "base_url: holds a user"),
        ({"base_url": "http://host/v1?key=secret"}, "base_url: holds a user"),
        ({"base_url": "http://host/v1/chat/completions/"}, "Leave that part out"),
        ({"api_key_env": "sk-secret-1"}, "not the name of a variable"),
        ({"concurrency": 0}, "judge.concurrency: must be >= 1"),
        ({"retries": -1}, "judge.retries: must be >= 0"),
        ({"temperature": -0.1}, "judge.temperature: must be >= 0"),
        ({"request": {"stream": True}}, "must not set 'stream'"),
        ({"noise": 0.5}, "unknown key 'noise'"),
        ({"name": "endpont"}, "Did you mean 'endpoint'"),
    ],
)
def test_wrong_settings_are_refused_with_the_reason_and_without_secrets(change, says):
    with pytest.raises(ParamsError, match=says) as caught:
        built(**change)
    assert "secret" not in str(caught.value)


def test_parameters_survive_a_round_trip():
    params = built(request={"max_tokens": None, "seed": 1}, timeout=3.0)
    assert JUDGES.choose("judge", dump(params)) == params


def test_how_it_is_asked_is_no_part_of_the_identity():
    slow, fast = (built(timeout=9.0, retries=0), built(concurrency=1, budget_questions=5, budget_tokens=7))
    assert slow != fast
    assert dump(slow, execution=False) == dump(fast, execution=False)
    left = dump(slow).keys() - dump(slow, execution=False).keys()
    assert left == {"timeout", "retries", "concurrency", "budget_questions", "budget_tokens", "other_models"}


@pytest.mark.parametrize("name", [row.name for row in JUDGES])
def test_every_field_of_every_judge_is_documented(name):
    cls = JUDGES[name].load()
    assert set(field_docs(cls)) == {field.name for field in dataclasses.fields(cls)}
