"""A judge on this machine: what it is asked, what it says, and that nothing is asked twice."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from components.contract.run import Input
from components.errors import ParamsError, WiringError
from components.judges import PairItem, open_judge
from components.judges.asker import Question
from components.judges.cache import AnswerCache
from components.judges.contracts.pair_verdict import PairVerdict
from components.judges.kinds import Endpoint, Local, Simulated
from components.judges.local import LocalAsker
from components.sequences.tokenize import encode_prompt
from tests.components.judges.local_policy import LEAD, SAYS, write_policy
from tests.tiny import CHAT_TEMPLATE, save_tiny_policy, tiny_tokenizer

OID = "0123456789abcdef0123456789abcdef.dir"
ALWAYS_A = {"max_tokens": 4, "threads": 1}


def question(text: str, **fields: Any) -> Question:
    return Question([{"role": "user", "content": text}], "c@1", **fields)


def asker(policy: Path, home: Path, oid: str = OID, **params: Any) -> LocalAsker:
    return LocalAsker(Local(**ALWAYS_A | params), Input("model", "policy", policy, oid), AnswerCache(home))


@pytest.fixture(scope="module")
def says_a(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_policy(tmp_path_factory.mktemp("judge") / "policy")


@pytest.fixture(scope="module")
def random_policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_policy(tmp_path_factory.mktemp("judge") / "policy")


def test_a_policy_answers_in_its_own_template(says_a: Path, tmp_path: Path) -> None:
    """Two tokens: the mark and the end. The prompt's tokens are those that its template makes."""
    (said,) = asker(says_a, tmp_path).ask([question("which?")])
    prompt = encode_prompt(tiny_tokenizer(), [{"role": "user", "content": "which?"}])
    assert (said.text, said.finish, said.refused, said.model) == (SAYS, "stop", "", OID)
    assert (said.prompt_tokens, said.completion_tokens, said.logprobs) == (len(prompt), 2, None)


def test_nothing_is_asked_twice_and_nothing_loaded_for_it(says_a: Path, tmp_path: Path) -> None:
    """Equal questions are one; a rerun finds all answers, though the weights are gone; another policy has its own."""
    policy = shutil.copytree(says_a, tmp_path / "policy")
    questions = [question("one?"), question("two?"), question("one?")]
    first = asker(policy, tmp_path / "cache")
    said = first.ask(questions)
    assert first.execution() == {"judge_requests": 2, "judge_cache_hits": 0}
    (policy / "model.safetensors").unlink()
    again = asker(policy, tmp_path / "cache")
    assert again.ask(questions) == said
    assert again.execution() == {"judge_requests": 0, "judge_cache_hits": 2}
    for other in (asker(says_a, tmp_path / "cache", oid="other"), asker(says_a, tmp_path / "cache", max_tokens=5)):
        other.ask(questions)
        assert other.execution()["judge_requests"] == 2


def test_answers_go_along_to_another_machine(says_a: Path, tmp_path: Path) -> None:
    """The journal holds them when `ask` returns: a step that goes on elsewhere, with nothing else, asks no more."""
    requests = []
    for machine in ("one", "two"):
        cache = AnswerCache(tmp_path / machine, tmp_path / "journal")
        judge = LocalAsker(Local(**ALWAYS_A), Input("model", "policy", says_a, OID), cache)
        judge.ask([question("one?"), question("two?")])
        requests.append(judge.execution()["judge_requests"])
    assert requests == [2, 0]


def test_a_greedy_judge_is_not_asked_again_for_another_answer(says_a: Path, tmp_path: Path) -> None:
    greedy, drawn = asker(says_a, tmp_path), asker(says_a, tmp_path, temperature=1.0)
    for one, requests in ((greedy, 1), (drawn, 2)):
        one.ask([question("one?")])
        one.ask([question("one?", sample=1)])
        assert one.execution()["judge_requests"] == requests


def test_a_sampled_answer_does_not_depend_on_its_batch(random_policy: Path, tmp_path: Path) -> None:
    """Alone, together in another order, and after an interruption: the same texts; another seed or sample, others."""
    questions = [question(f"what of {'the fox ' * i}?") for i in range(5)]

    def said(home: str, asked: list[Question], **params: Any) -> list[str]:
        params = {"temperature": 1.0, "max_tokens": 12, **params}
        return [completion.text for completion in asker(random_policy, tmp_path / home, **params).ask(asked)]

    alone = said("alone", questions, batch_size=1)
    assert len(set(alone)) == 5
    assert said("together", questions[::-1], batch_size=3)[::-1] == alone
    said("resumed", questions[2:4])
    assert said("resumed", questions) == alone
    assert not set(alone) & set(said("alone", questions, seed=1))
    again = [question(q.messages[0]["content"], sample=1) for q in questions]
    assert not set(alone) & set(said("alone", again))


def test_a_question_without_room_for_its_answer_is_refused_and_never_cut(tmp_path: Path) -> None:
    """40 positions, 4 of them for the answer: 36 tokens of prompt fit, 37 do not."""
    policy = write_policy(tmp_path / "policy", positions=40)
    texts = ["?" * n for n in range(1, 60)]
    said = asker(policy, tmp_path / "cache").ask([question(text) for text in texts])
    fits = [completion.refused == "" for completion in said]
    assert [completion.prompt_tokens <= 36 for completion in said] == fits
    assert {True, False} == set(fits)
    assert {(c.text, c.finish, c.refused) for c in said} == {
        (SAYS, "stop", ""),
        ("", "refused", "context_length_exceeded"),
    }
    model = Input("model", "policy", policy, OID)
    judge = open_judge(Local(**ALWAYS_A), PairVerdict(), tmp_path / "cache", None, model)
    (reply,) = judge.answer([PairItem("1", [{"role": "user", "content": "?"}], "a", "b")])
    assert (reply.value, reply.n_retries) == (None, 0)
    assert reply.reason == "the judge refused the question (context_length_exceeded)"


def test_an_answer_that_does_not_end_is_cut_off(tmp_path: Path) -> None:
    (said,) = asker(write_policy(tmp_path / "policy", ends=False), tmp_path / "cache").ask([question("which?")])
    assert (said.text, said.finish, said.completion_tokens) == (SAYS * 4, "length", 4)


@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_log_probabilities_are_given_where_a_contract_reads_them(
    says_a: Path, tmp_path: Path, temperature: float
) -> None:
    """Logits 6 and 1 among zeros, before any temperature; the end of the answer is no token of its text.

    (The norm's epsilon takes 4e-5.)
    """
    (said,) = asker(says_a, tmp_path, temperature=temperature).ask([question("which?", top_logprobs=2)])
    vocabulary = len(tiny_tokenizer()) + 2
    total = math.log(math.exp(LEAD) + math.e + vocabulary - 2)
    assert said.logprobs is not None
    (place,) = said.logprobs
    assert (place["token"], list(place["top"])) == (SAYS, ["[[B]]", SAYS])
    assert place["logprob"] == place["top"][SAYS] == pytest.approx(LEAD - total, abs=1e-4)
    assert place["top"]["[[B]]"] == pytest.approx(1 - total, abs=1e-4)


def test_a_template_that_takes_no_system_message_is_a_wrong_choice(tmp_path: Path) -> None:
    refuses = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system role') }}{% endif %}"
    policy = write_policy(tmp_path / "policy", template=refuses + CHAT_TEMPLATE)
    with pytest.raises(ParamsError, match=r"refuses a question of c@1 \(got No system role\)"):
        asker(policy, tmp_path).ask([Question([{"role": "system", "content": "Judge."}], "c@1")])


def test_answers_longer_than_the_model_are_refused_before_it_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 64}')
    with pytest.raises(ParamsError, match=r"judge\.max_tokens: leaves no room"):
        asker(tmp_path, tmp_path, max_tokens=64)


def test_the_input_model_is_there_for_a_judge_that_is_one_and_for_no_other(tmp_path: Path) -> None:
    model = Input("model", "policy", tmp_path / "nothing is loaded", OID)
    with pytest.raises(WiringError, match=r"judge local: .* \(got none\). Pass --in model=POLICY"):
        open_judge(Local(), PairVerdict(), tmp_path)
    for who in (Simulated(), Endpoint("m", "http://localhost/v1")):
        with pytest.raises(WiringError, match=rf"asks no input 'model' \(got {OID}\). Leave it out, or choose local"):
            open_judge(who, PairVerdict(), tmp_path, None, model)
