"""The endpoint judge against a real HTTP server on loopback."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest

from components.errors import ArtifactError, JudgeError, ParamsError
from components.judges import PairItem, judge_both_orders, judge_stats
from components.judges.asker import Question
from components.judges.cache import AnswerCache
from components.judges.client import ChatClient
from components.judges.contracts.pair_verdict import PairVerdict
from components.judges.endpoint import EndpointAsker
from components.judges.judge import ModelJudge
from components.judges.kinds import Endpoint
from tests.components.judges.fake_endpoint import Reply, fails, says, serve

KEY = "sk-loopback-0123456789"


@pytest.fixture(autouse=True)
def _key_and_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_JUDGE_KEY", KEY)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def asker_at(base_url: str, cache: Path, **changes: object) -> EndpointAsker:
    params = Endpoint(model="m", base_url=base_url, api_key_env="TEST_JUDGE_KEY", timeout=5.0, retries=2)
    params = replace(params, **changes)
    params.check()
    return EndpointAsker(params, AnswerCache(cache), backoff=0.001)


def judge_at(base_url: str, cache: Path, **changes: object) -> ModelJudge:
    return ModelJudge(asker_at(base_url, cache, **changes), PairVerdict())


def pairs(n: int) -> list[PairItem]:
    return [
        PairItem(str(i), [{"role": "user", "content": f"Question {i}?"}], f"good {i}", f"bad {i}") for i in range(n)
    ]


def prefers_good(body: dict, number: int) -> Reply:
    """An oracle: reads the prompt like a model would."""
    text = body["messages"][1]["content"]
    return says("Good is better.\n[[A]]" if text.index("good") < text.index("bad") else "Good again.\n[[B]]")


def test_happy_path_asks_both_orders_and_counts_tokens(tmp_path):
    with serve(prefers_good) as endpoint:
        results = judge_both_orders(judge_at(endpoint.base_url, tmp_path), pairs(3))
    assert [(r.p_a, r.consistent) for r in results] == [(1.0, True)] * 3
    stats = judge_stats(results)
    assert (stats.prompt_tokens, stats.completion_tokens) == (6 * 7, 6 * 3)
    assert stats.served_models == ("m-2026-10",)
    assert set(endpoint.paths) == {"/v1/chat/completions"}
    assert set(endpoint.keys) == {f"Bearer {KEY}"}
    assert {(r["model"], r["temperature"], r["max_tokens"]) for r in endpoint.requests} == {("m", 0.0, 1024)}


def test_a_question_is_never_asked_twice(tmp_path):
    """A second judge, and the same item twice in one call, find the answers; results are equal."""
    with serve(prefers_good) as endpoint:
        first = judge_at(endpoint.base_url, tmp_path)
        fresh = judge_both_orders(first, pairs(3) + pairs(3))
        second = judge_at(endpoint.base_url, tmp_path)
        cached = judge_both_orders(second, pairs(3) + pairs(3))
    assert len(endpoint.requests) == 6
    assert fresh == cached
    assert first.execution() == {"judge_requests": 6, "judge_cache_hits": 0}
    assert second.execution() == {"judge_requests": 0, "judge_cache_hits": 6}


@pytest.mark.parametrize(
    "changes",
    [{"model": "M"}, {"temperature": 0.5}, {"max_tokens": 9}, {"model_revision": "2027"}, {"request": {"top_p": 0.5}}],
)
def test_whatever_decides_an_answer_is_part_of_the_key(tmp_path, changes):
    with serve(prefers_good) as endpoint:
        judge_at(endpoint.base_url, tmp_path).answer(pairs(1))
        judge_at(endpoint.base_url, tmp_path, **changes).answer(pairs(1))
    assert len(endpoint.requests) == 2


def test_how_it_is_asked_is_no_part_of_the_key(tmp_path):
    with serve(prefers_good) as endpoint:
        judge_at(endpoint.base_url, tmp_path).answer(pairs(1))
        judge_at(endpoint.base_url, tmp_path, concurrency=1, retries=0, timeout=9.0, api_key_env="").answer(pairs(1))
    assert len(endpoint.requests) == 1


def test_request_fields_are_sent_and_null_removes_one(tmp_path):
    with serve(prefers_good) as endpoint:
        judge_at(endpoint.base_url, tmp_path, request={"max_tokens": None, "max_completion_tokens": 7}).answer(pairs(1))
    assert "max_tokens" not in endpoint.requests[0]
    assert endpoint.requests[0]["max_completion_tokens"] == 7


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    """The endpoint dies after 4 answers: the error is a JudgeError; the rerun asks only for the rest."""

    def dies(body, number):
        return prefers_good(body, number) if number <= 4 else fails(503)

    with serve(dies) as endpoint:
        with pytest.raises(JudgeError):
            judge_both_orders(judge_at(endpoint.base_url, tmp_path, concurrency=1, retries=0), pairs(5))
        endpoint.answer, asked = prefers_good, len(endpoint.requests)
        judge_both_orders(judge_at(endpoint.base_url, tmp_path), pairs(5))
    assert len(endpoint.requests) - asked == 10 - 4


@pytest.mark.parametrize(
    "trouble",
    [
        fails(429, Retry_After="0"),
        fails(500),
        fails(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"),
        Reply("<html>bad gateway</html>", 502),
        Reply("{not json"),
        Reply({"choices": []}),
        Reply({"choices": [{"message": {"content": ["a", "list"]}}]}),
        Reply("[]"),
    ],
    ids=["429", "500", "503 date", "html", "malformed", "no choices", "list content", "not an object"],
)
def test_trouble_that_heals_is_retried(tmp_path, trouble):
    with serve(lambda body, number: trouble if number == 1 else prefers_good(body, number)) as endpoint:
        verdict = judge_at(endpoint.base_url, tmp_path).answer(pairs(1))[0]
    assert verdict.value == "a"
    assert len(endpoint.requests) == 2


def test_trouble_that_stays_is_a_judge_error_with_the_reason(tmp_path):
    with serve(lambda body, number: fails(500, "the GPU is on fire")) as endpoint:
        judge = judge_at(endpoint.base_url, tmp_path)
        with pytest.raises(JudgeError, match=r"after 3 attempt\(s\) \(HTTP 500: the GPU is on fire\)"):
            judge.answer(pairs(1))
    assert len(endpoint.requests) == 3
    assert JudgeError("").exit_code == 1  # a retry may cure it


class Pauses:
    """Stands in for the event a client waits on: notes how long, and does not wait."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        return False


def pauses(monkeypatch: pytest.MonkeyPatch, *replies: Reply) -> list[float]:
    """The pauses a client makes while a server sends these replies and then a good one."""
    with serve(lambda body, number: replies[number - 1] if number <= len(replies) else says("[[A]]")) as endpoint:
        client = ChatClient(endpoint.base_url, retries=len(replies), backoff=1.0)
        noted = Pauses()
        monkeypatch.setattr(client, "_stopped", noted)
        client.complete({"model": "m", "messages": []})
        client.close()
    return noted.seconds


def test_backoff_doubles_without_jitter(monkeypatch):
    assert pauses(monkeypatch, *[fails(500)] * 8) == [1, 2, 4, 8, 16, 32, 60, 60]


def test_retry_after_is_honoured(monkeypatch):
    soon = formatdate(time.time() + 30, usegmt=True)
    waited = pauses(monkeypatch, fails(429, Retry_After="17"), fails(503), fails(429, Retry_After=soon))
    assert waited[:2] == [17, 2]
    assert 20 < waited[2] <= 30


def test_an_endpoint_that_asks_to_come_back_tomorrow_is_an_error_now(tmp_path):
    tomorrow = fails(429, "daily quota", Retry_After="86400")
    with serve(lambda body, number: tomorrow) as endpoint, pytest.raises(JudgeError, match="daily quota"):
        judge_at(endpoint.base_url, tmp_path).answer(pairs(1))
    assert len(endpoint.requests) == 1


def test_a_silent_endpoint_times_out(tmp_path):
    silent = threading.Event()

    def hangs(body, number):
        silent.wait(5)
        return says("[[A]]")

    with serve(hangs) as endpoint:
        judge = judge_at(endpoint.base_url, tmp_path, timeout=0.05, retries=1)
        with pytest.raises(JudgeError, match=r"after 2 attempt\(s\) \(ReadTimeout"):
            judge.answer(pairs(1))
        silent.set()


def test_nobody_at_the_address_is_a_judge_error(tmp_path):
    with serve(prefers_good) as endpoint:
        gone = endpoint.base_url
    with pytest.raises(JudgeError, match="ConnectError"):
        judge_at(gone, tmp_path).answer(pairs(1))


@pytest.mark.parametrize(
    ("reply", "says_what"),
    [
        (fails(401, f"Incorrect API key provided: {KEY}"), "judge.api_key_env: .* refuses access .* TEST_JUDGE_KEY"),
        (fails(403), "judge.api_key_env"),
        (fails(404, "model m does not exist"), "no such model or path .*model m does not exist"),
        (fails(400, f"unknown field, key {KEY}"), r"rejects the request \(HTTP 400: unknown field, key \*\*\*\)"),
        (Reply("", 301, {"Location": "http://127.0.0.1:9/elsewhere"}), "HTTP 301"),
    ],
)
def test_what_a_person_must_change_is_not_retried_and_never_shows_the_key(tmp_path, reply, says_what):
    with serve(lambda body, number: reply) as endpoint:
        judge = judge_at(endpoint.base_url, tmp_path)
        with pytest.raises(ParamsError, match=says_what) as caught:
            judge.answer(pairs(1))
    assert len(endpoint.requests) == 1
    assert KEY not in str(caught.value)
    assert KEY not in repr(vars(judge))


@pytest.mark.parametrize("value", ["", "   ", "sk-\x00odd", "sk-schlüssel"])
def test_a_variable_without_a_key_is_named_and_its_value_is_not(tmp_path, monkeypatch, value):
    if "\x00" in value:
        monkeypatch.setattr("os.environ", {"TEST_JUDGE_KEY": value})
    else:
        monkeypatch.setenv("TEST_JUDGE_KEY", value)
    with pytest.raises(ParamsError, match="TEST_JUDGE_KEY") as caught:
        judge_at("http://127.0.0.1:9/v1", tmp_path)
    assert "sk-" not in str(caught.value)


def test_the_key_is_in_no_cache_file_log_or_message(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    with serve(lambda body, number: fails(500, f"bad {KEY}") if number > 2 else prefers_good(body, number)) as endpoint:
        judge = judge_at(endpoint.base_url, tmp_path, concurrency=1)
        with pytest.raises(JudgeError) as caught:
            judge_both_orders(judge, pairs(2))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 2
    assert all(path.parent.name == path.name[:2] for path in files)
    assert not any(KEY in path.read_text() for path in files)
    assert KEY not in caplog.text
    assert KEY not in str(caught.value)


def test_no_key_is_sent_where_none_is_named(tmp_path):
    with serve(prefers_good) as endpoint:
        judge_at(endpoint.base_url, tmp_path, api_key_env="").answer(pairs(1))
    assert endpoint.keys == [""]


@pytest.mark.parametrize("bound", [1, 3])
def test_never_more_requests_at_once_than_allowed(tmp_path, bound):
    """With a barrier of `bound` waiters the bound is also reached, so the test cannot pass by idling."""
    together = threading.Barrier(bound, timeout=5)

    def answer(body, number):
        together.wait()
        return prefers_good(body, number)

    with serve(answer) as endpoint:
        judge_both_orders(judge_at(endpoint.base_url, tmp_path, concurrency=bound), pairs(3))
    assert endpoint.most_at_once == bound


def test_an_answer_without_verdict_is_asked_for_again_then_given_up(tmp_path):
    """PC-01: 2 retries. The second pair's answers never parse: no verdict, 3 questions, the tokens of all 3."""

    def answer(body, number):
        hopeless = "Question 1" in body["messages"][1]["content"]
        return says("I cannot decide.") if hopeless or number == 1 else says("[[A]]")

    with serve(answer) as endpoint:
        first, second = judge_at(endpoint.base_url, tmp_path, concurrency=1).answer(pairs(2))
    assert (first.value, first.n_retries, first.completion_tokens) == ("a", 1, 6)
    assert (second.value, second.parse_ok, second.n_retries, second.completion_tokens) == (None, False, 2, 9)
    assert second.reason == "no verdict, or contradicting ones, in the answer"
    assert len(endpoint.requests) == 5


def test_cached_answers_without_verdict_are_not_asked_for_again(tmp_path):
    with serve(lambda body, number: says("Hm.")) as endpoint:
        fresh = judge_at(endpoint.base_url, tmp_path).answer(pairs(1))
        cached = judge_at(endpoint.base_url, tmp_path).answer(pairs(1))
    assert fresh == cached
    assert len(endpoint.requests) == 3


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (says("It is [[A]]", finish="length"), "cut off at max_tokens"),
        (says(""), "the answer is empty"),
        (says(None, finish="content_filter"), "the judge refused the question (content_filter)"),
    ],
)
def test_a_cut_off_or_empty_answer_is_no_verdict(tmp_path, reply, reason):
    with serve(lambda body, number: reply) as endpoint:
        verdict = judge_at(endpoint.base_url, tmp_path).answer(pairs(1))[0]
    assert verdict.value is None
    assert reason in verdict.reason


@pytest.mark.parametrize(
    "reply",
    [
        fails(400, "too long", "context_length_exceeded"),
        fails(400, "This model's maximum context length is 512 tokens.", None),
        fails(413),
        fails(400, "flagged", "content_filter"),
    ],
)
def test_a_question_the_endpoint_refuses_costs_its_pair_not_the_run(tmp_path, reply):
    def answer(body, number):
        return reply if "Question 0" in body["messages"][1]["content"] else prefers_good(body, number)

    with serve(answer) as endpoint:
        refused, fine = judge_both_orders(judge_at(endpoint.base_url, tmp_path), pairs(2), "conservative")
    assert (refused.outcome, fine.outcome) == (None, "a")
    assert "refused the question" in refused.first.reason
    assert len(endpoint.requests) == 4  # a refusal is not asked again


def test_a_lone_surrogate_in_an_answer_does_not_reach_our_files(tmp_path):
    with serve(lambda body, number: says("odd \ud800 text\n[[A]]")) as endpoint:
        verdict = judge_at(endpoint.base_url, tmp_path).answer(pairs(1))[0]
    assert verdict.value == "a"
    verdict.text.encode("utf-8")


def test_a_damaged_cache_file_is_named(tmp_path):
    with serve(prefers_good) as endpoint:
        judge_at(endpoint.base_url, tmp_path).answer(pairs(1))
        file = next(path for path in tmp_path.rglob("*.json"))
        file.write_text("{")
        with pytest.raises(ArtifactError, match=file.name):
            judge_at(endpoint.base_url, tmp_path).answer(pairs(1))


def test_the_annotator_names_model_revision_and_prompt(tmp_path):
    judge = judge_at("http://127.0.0.1:9/v1", tmp_path, model_revision="2026-11")
    one, other = (judge.annotator(item) for item in pairs(2))
    assert (one["kind"], one["id"], one["revision"], one["temperature"]) == ("llm", "m", "2026-11", 0.0)
    assert one["instructions_rev"].startswith("pair_verdict@1:")
    assert one["instructions_rev"] != other["instructions_rev"]


def test_a_budget_of_questions_ends_the_run_and_what_is_there_stays_free(tmp_path):
    """6 questions, 4 allowed: a run of 4, then one of the other 2. A retry would spend more: exit code 2."""
    with serve(prefers_good) as endpoint:
        with pytest.raises(ParamsError, match=r"judge.budget_questions: is used up \(got 4 of 4, after 4 questions\)"):
            judge_both_orders(judge_at(endpoint.base_url, tmp_path, budget_questions=4, concurrency=1), pairs(3))
        assert len(endpoint.requests) == 4
        again = judge_at(endpoint.base_url, tmp_path, budget_questions=4)
        judge_both_orders(again, pairs(3))
    assert again.execution() == {"judge_requests": 2, "judge_cache_hits": 4}


def test_a_budget_of_tokens_counts_prompts_and_answers(tmp_path):
    """A question costs 7 + 3 tokens: after the second, 20 of 15 are spent."""
    with serve(prefers_good) as endpoint, pytest.raises(ParamsError, match=r"budget_tokens: is used up \(got 20 of 15"):
        judge_both_orders(judge_at(endpoint.base_url, tmp_path, budget_tokens=15, concurrency=1), pairs(3))
    assert len(endpoint.requests) == 2


def test_log_probabilities_are_asked_for_and_kept_where_a_contract_reads_them(tmp_path):
    top = [{"token": "A", "logprob": -0.1}, {"token": "B", "logprob": -2.5}]
    content = {"content": [{"token": "A", "logprob": -0.1, "bytes": [65], "top_logprobs": top}]}

    def answer(body, number):
        reply = says("A")
        if body.get("logprobs"):
            reply.body["choices"][0]["logprobs"] = content
        return reply

    prompt = [{"role": "user", "content": "A or B?"}]
    with serve(answer) as endpoint:
        questions = [Question(prompt, "c@1", top_logprobs=5), Question(prompt, "c@1")]
        with_them, without = asker_at(endpoint.base_url, tmp_path).ask(questions)
        cached = asker_at(endpoint.base_url, tmp_path).ask(questions)
    assert with_them.logprobs == [{"token": "A", "logprob": -0.1, "top": {"A": -0.1, "B": -2.5}}]
    assert without.logprobs is None
    assert cached == [with_them, without]
    asked = sorted((body.get("logprobs", False), body.get("top_logprobs", 0)) for body in endpoint.requests)
    assert asked == [(False, 0), (True, 5)]
