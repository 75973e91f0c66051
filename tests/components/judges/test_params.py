"""A judge's parameters: what is refused, and that no secret is repeated."""

from __future__ import annotations

import pytest

from components.contract import build, dump, field_docs
from components.errors import ParamsError
from components.judges import JudgeParams

ENDPOINT = {"kind": "openai", "model": "m", "base_url": "http://localhost:8000/v1"}


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
        ({"concurrency": 0}, "concurrency: must be positive"),
        ({"retries": -1}, "retries: must not be negative"),
        ({"request": {"stream": True}}, "must not set 'stream'"),
    ],
)
def test_wrong_settings_are_refused_with_the_reason_and_without_secrets(change, says):
    with pytest.raises(ParamsError, match=says) as caught:
        build(JudgeParams, ENDPOINT | change, "judge")
    assert "secret" not in str(caught.value)


def test_parameters_survive_a_round_trip_and_are_all_documented():
    params = build(JudgeParams, ENDPOINT | {"request": {"max_tokens": None, "seed": 1}}, "judge")
    assert build(JudgeParams, dump(params), "judge") == params
    assert set(field_docs(JudgeParams)) == set(dump(params))
