"""A language model behind an endpoint as a judge."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from tqdm import tqdm

from components.judges.cache import AnswerCache, cache_key
from components.judges.client import Answer, ChatClient, read_key
from components.judges.contracts import CONTRACTS, Message, prompt_hash
from components.judges.pairs import PairItem, Verdict
from components.judges.params import JudgeParams


class EndpointJudge:
    """Asks an OpenAI-compatible endpoint. Answers are cached under `cache`, so a rerun asks only what is missing."""

    def __init__(self, params: JudgeParams, cache: Path, *, backoff: float = 1.0) -> None:
        self._params, self._contract, self._cache = params, CONTRACTS[params.contract], AnswerCache(cache)
        self._backoff = backoff
        read_key(params.api_key_env)  # a missing key is said before anything is done
        self._counts = {"judge_requests": 0, "judge_cache_hits": 0}
        self._lock = threading.Lock()

    def annotator(self, item: PairItem) -> dict[str, Any]:
        return {
            "id": self._params.model,
            "kind": "llm",
            "revision": self._params.revision or self._params.model,
            "instructions_rev": f"{self._contract.ref}:{prompt_hash(self._contract.render(item))}",
            "temperature": self._params.temperature,
        }

    def execution(self) -> dict[str, int]:
        return dict(self._counts)

    def judge(self, items: Sequence[PairItem]) -> list[Verdict]:
        prompts = [self._contract.render(item) for item in items]
        hashes = [prompt_hash(prompt) for prompt in prompts]
        unique = dict(zip(hashes, prompts, strict=True))  # the same question twice is asked once
        p = self._params
        client = ChatClient(p.base_url, p.api_key_env, timeout=p.timeout, retries=p.retries, backoff=self._backoff)
        pool = ThreadPoolExecutor(max_workers=p.concurrency, thread_name_prefix="judge")
        try:
            futures = {pool.submit(self._verdict, client, prompt): key for key, prompt in unique.items()}
            done = tqdm(as_completed(futures), total=len(futures), desc=f"judge {p.model}", unit="question")
            verdicts = {futures[future]: future.result() for future in done}
        except (KeyboardInterrupt, SystemExit):
            client.abandon()
            raise
        finally:
            client.stop()  # after an error, requests in flight end without waiting and retrying
            pool.shutdown(cancel_futures=True)
            client.close()
        return [verdicts[key] for key in hashes]

    def _verdict(self, client: ChatClient, prompt: list[Message]) -> Verdict:
        """Ask until an answer holds a verdict, at most `retries` times more."""
        answers: list[Answer] = []
        outcome = None
        for sample in range(self._contract.retries + 1):
            answers.append(self._answer(client, prompt, sample))
            if answers[-1].finish != "length":
                outcome = self._contract.parse(answers[-1].text)
            if outcome or answers[-1].refused:
                break
        last = answers[-1]
        return Verdict(
            outcome=outcome,
            text=last.text,
            n_retries=len(answers) - 1,
            reason="" if outcome else _why_no_verdict(last),
            prompt_tokens=sum(answer.prompt_tokens for answer in answers),
            completion_tokens=sum(answer.completion_tokens for answer in answers),
            served_model=last.model,
        )

    def _answer(self, client: ChatClient, prompt: list[Message], sample: int) -> Answer:
        decoding = {"temperature": self._params.temperature, "max_tokens": self._params.max_tokens}
        body = {"model": self._params.model, "messages": prompt, **decoding, **self._params.request}
        body = {name: value for name, value in body.items() if value is not None}
        where = {"base_url": self._params.base_url, "revision": self._params.revision}
        key = cache_key({"contract": self._contract.ref, "body": body, "sample": sample, **where})
        cached = self._cache.get(key)
        with self._lock:
            self._counts["judge_cache_hits" if cached else "judge_requests"] += 1
        if cached:
            return Answer(**cached)
        answer = client.complete(body)
        self._cache.put(key, answer.to_json())
        return answer


def _why_no_verdict(answer: Answer) -> str:
    if answer.refused:
        return f"the endpoint refused the question ({answer.refused})"
    if answer.finish == "length":
        return "the answer was cut off at max_tokens"
    return "no verdict, or contradicting ones, in the answer" if answer.text.strip() else "the answer is empty"
