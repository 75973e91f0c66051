"""Asks a language model behind an endpoint, many questions at a time; keeps the answers, and to a budget."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from components.errors import ParamsError
from components.judges.asker import Completion, Question
from components.judges.cache import AnswerCache, cache_key
from components.judges.client import ChatClient, read_key
from components.judges.served import check_served

if TYPE_CHECKING:  # the row that opens this
    from components.judges.kinds import Endpoint


class EndpointAsker:
    """Asks an OpenAI-compatible endpoint. Answers lie in `cache`, so a rerun asks only what is missing."""

    def __init__(self, params: Endpoint, cache: AnswerCache, *, backoff: float = 1.0) -> None:
        self._params, self._cache, self._backoff = params, cache, backoff
        read_key(params.api_key_env)  # a missing key is said before anything is done
        self._counts = {"judge_requests": 0, "judge_cache_hits": 0}
        self._tokens = 0
        self._lock = threading.Lock()

    def who(self) -> dict[str, Any]:
        p = self._params
        return {"id": p.model, "kind": "llm", "revision": p.model_revision or p.model, "temperature": p.temperature}

    def execution(self) -> dict[str, int]:
        return dict(self._counts)

    def ask(self, questions: Sequence[Question]) -> list[Completion]:
        bodies = [self._body(question) for question in questions]
        keys = [self._key(question, body) for question, body in zip(questions, bodies, strict=True)]
        unique = dict(zip(keys, bodies, strict=True))  # the same question twice is asked once
        p = self._params
        client = ChatClient(p.base_url, p.api_key_env, timeout=p.timeout, retries=p.retries, backoff=self._backoff)
        pool = ThreadPoolExecutor(max_workers=p.concurrency, thread_name_prefix="judge")
        try:
            futures = {pool.submit(self._answer, client, key, body): key for key, body in unique.items()}
            done = tqdm(as_completed(futures), total=len(futures), desc=f"judge {p.model}", unit="question")
            completions = {futures[future]: future.result() for future in done}
        except (KeyboardInterrupt, SystemExit):
            client.abandon()
            raise
        finally:
            client.stop()  # after an error, requests in flight end without waiting and retrying
            pool.shutdown(cancel_futures=True)
            client.close()
            self._cache.flush()
        check_served(p.model, completions.values(), p.other_models)
        return [completions[key] for key in keys]

    def _body(self, question: Question) -> dict[str, Any]:
        p = self._params
        decoding: dict[str, Any] = {"temperature": p.temperature, "max_tokens": p.max_tokens}
        if question.top_logprobs:
            decoding |= {"logprobs": True, "top_logprobs": question.top_logprobs}
        body = {"model": p.model, "messages": list(question.messages), **decoding, **p.request}
        return {name: value for name, value in body.items() if value is not None}

    def _key(self, question: Question, body: dict[str, Any]) -> str:
        where = {"base_url": self._params.base_url, "revision": self._params.model_revision}
        return cache_key({"contract": question.contract, "body": body, "sample": question.sample, **where})

    def _answer(self, client: ChatClient, key: str, body: dict[str, Any]) -> Completion:
        cached = self._cache.get(key)
        with self._lock:
            if cached is None:
                self._check_budget()
            self._counts["judge_requests" if cached is None else "judge_cache_hits"] += 1
        if cached is not None:
            return Completion(**cached)
        completion = client.complete(body)
        self._cache.put(key, completion.to_json())
        with self._lock:
            self._tokens += completion.prompt_tokens + completion.completion_tokens
        return completion

    def _check_budget(self) -> None:
        """Requests in flight are not called back: at most `concurrency` answers come in over the budget of tokens."""
        p, sent = self._params, self._counts["judge_requests"]
        for name, limit, spent in (
            ("budget_questions", p.budget_questions, sent),
            ("budget_tokens", p.budget_tokens, self._tokens),
        ):
            if limit and spent >= limit:
                raise ParamsError(
                    f"judge.{name}: is used up (got {spent} of {limit}, after {sent} questions). Answers so far are "
                    f"kept: raise judge.{name} and run again to go on from them."
                )
