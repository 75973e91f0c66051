"""A judge that answers as another model than was asked is named, and stopped above a share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.errors import ParamsError
from components.judges.asker import Completion, Question
from components.judges.cache import AnswerCache
from components.judges.endpoint import EndpointAsker
from components.judges.kinds import Endpoint
from components.judges.served import check_served, is_another
from tests.components.judges.fake_endpoint import Reply, says, serve


@pytest.mark.parametrize(
    "served",
    [
        "judge-large",
        "Judge-Large",
        "",
        "judge-large-2026-10",
        "judge-large-2026-10-01",
        "judge-large-0613",
        "judge-large:latest",
        "judge-large@20261001",
        "org/judge-large",
        "models/judge-large-20261001-v1:0",
        "/weights/judge-large/",
    ],
)
def test_a_snapshot_of_the_model_is_the_model(served: str) -> None:
    assert not is_another("judge-large", served)
    assert not is_another("org/judge-large", served)


@pytest.mark.parametrize("served", ["judge-small-2026-11", "judge-large-mini", "judge-large-32k", "judge", "large"])
def test_another_name_is_another_model(served: str) -> None:
    assert is_another("judge-large", served)


def test_an_asked_snapshot_may_be_served_under_its_family_and_not_under_another_snapshot() -> None:
    assert not is_another("judge-2026-10", "judge")
    assert is_another("judge-2026-10", "judge-2026-11")


def test_a_share_of_other_models_may_be_allowed() -> None:
    said = [Completion("a", model="m")] * 3 + [Completion("a", model="other")]
    check_served("m", said, 0.25)
    with pytest.raises(ParamsError, match=r"1 of 4 answers come from another model .*\(got other \(1\), asked m\)"):
        check_served("m", said, 0.2)
    check_served("m", [], 0.0)
    check_served("m", [Completion("", refused="content_filter", model="other")], 0.0)


def test_no_share_is_allowed_unless_asked_for() -> None:
    assert Endpoint(model="m", base_url="http://localhost:1/v1").other_models == 0.0


def asker_at(base_url: str, cache: Path, **changes: Any) -> EndpointAsker:
    return EndpointAsker(Endpoint(model="m", base_url=base_url, timeout=5.0, **changes), AnswerCache(cache))


def content(value: object, finish: str = "stop", **message: object) -> Reply:
    choice = {"index": 0, "message": {"role": "assistant", "content": value, **message}, "finish_reason": finish}
    return Reply({"model": "m", "choices": [choice]})


def test_an_answer_in_parts_is_read_and_reasoning_is_no_answer(tmp_path: Path) -> None:
    parts = [{"type": "reasoning", "text": "B?"}, {"type": "text", "text": "So:"}, {"type": "text", "text": " [[A]]"}]
    with serve(lambda body, number: content(parts)) as endpoint:
        (said,) = asker_at(endpoint.base_url, tmp_path).ask([Question([{"role": "user", "content": "?"}], "c@1")])
    assert (said.text, said.refused) == ("So: [[A]]", "")


def test_a_refusal_that_looks_like_an_answer_is_named(tmp_path: Path) -> None:
    for reply, why in (
        (content(None, refusal="I cannot."), "refusal"),
        (content("", "content_filter"), "content_filter"),
        (content(None), ""),
    ):
        with serve(lambda body, number, reply=reply: reply) as endpoint:
            asker = asker_at(endpoint.base_url, tmp_path / (why or "none"))
            (said,) = asker.ask([Question([{"role": "user", "content": "?"}], "c@1")])
        assert (said.text, said.refused) == ("", why)


def test_another_model_than_was_asked_ends_the_step_and_loses_no_answer(tmp_path: Path) -> None:
    """The two bodies of the case judge_other_model: a snapshot of the judge, then another model."""

    def answers(body: dict[str, Any], number: int) -> Reply:
        return says("[[A]]", model="m-2026-10" if number % 2 else "small-2026-11")

    question = [Question([{"role": "user", "content": f"{i}?"}], "c@1") for i in range(4)]
    with serve(answers) as endpoint:
        with pytest.raises(ParamsError, match=r"judge.model: 2 of 4 answers .*small-2026-11 \(2\), asked m\)"):
            asker_at(endpoint.base_url, tmp_path).ask(question)
        said = asker_at(endpoint.base_url, tmp_path, other_models=0.5).ask(question)
    assert len(endpoint.requests) == 4
    assert sorted({one.model for one in said}) == ["m-2026-10", "small-2026-11"]
