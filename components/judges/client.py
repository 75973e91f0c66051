"""A client of the OpenAI chat-completions protocol: retries what may heal, explains what will not, hides the key."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from components.errors import JudgeError, ParamsError
from components.judges.asker import Completion
from components.judges.bounded import BoundedClient

_LONGEST_PAUSE = 60.0
_LONGEST_RETRY_AFTER = 600.0
_SHORTEST_SECRET = 8  # what is shorter ("EMPTY", "x") is no secret, and replacing it would garble answers
# Refusals of one question, not of the setup: the pair gets no verdict, the run goes on.
_REFUSALS = ("context_length_exceeded", "content_filter", "content_policy_violation")


class _Retryable(Exception):
    def __init__(self, problem: str, retry_after: float = 0.0) -> None:
        super().__init__(problem)
        self.retry_after = retry_after


def read_key(variable: str) -> str:
    """The key in the environment variable of this name ('' for no variable). Raises ParamsError, never showing it."""
    if not variable:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ParamsError(f"judge.api_key_env: the environment variable {variable} is empty. Put the key there.")
    if not (key.isascii() and key.isprintable()):
        raise ParamsError(f"judge.api_key_env: the value of {variable} is no key (odd characters). Set it again.")
    return key


class ChatClient:
    """`complete` may be called from many threads. After `stop` no call retries or waits any more."""

    def __init__(
        self, base_url: str, key_variable: str = "", *, timeout: float = 120.0, retries: int = 5, backoff: float = 1.0
    ) -> None:
        """backoff: seconds before the first retry, doubled before each further one (at most 60)."""
        self._key = read_key(key_variable)
        self._key_variable, self._base_url = key_variable, base_url.rstrip("/")
        self._retries, self._backoff = retries, backoff
        self._stopped = threading.Event()
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._http = BoundedClient(headers, timeout)

    def stop(self) -> None:
        self._stopped.set()

    def abandon(self) -> None:
        """`stop`, and what is in flight ends at once: somebody waits for this process to end."""
        self._stopped.set()
        self._http.abandon()

    def close(self) -> None:
        self._http.close()

    def complete(self, body: Mapping[str, Any]) -> Completion:
        """Ask once, retrying what may heal.

        Raises JudgeError when the last retry failed, ParamsError for a wrong key, address, model or setting.
        """
        attempts = self._retries + 1
        for attempt in range(attempts):
            try:
                return self._ask(body)
            except _Retryable as error:
                problem, pause = self._hide(str(error)), error.retry_after
            if pause > _LONGEST_RETRY_AFTER:
                break
            if attempt + 1 < attempts:
                pause = pause or min(self._backoff * 2**attempt, _LONGEST_PAUSE)
                if self._stopped.wait(pause):
                    break
        raise JudgeError(
            f"judge {self._base_url}: no answer after {attempt + 1} attempt(s) ({problem}). Check that the endpoint is "
            "up, lower judge.concurrency or raise judge.timeout, and rerun: answers so far are kept."
        )

    def _ask(self, body: Mapping[str, Any]) -> Completion:
        try:
            response = self._without_key(self._http.post(f"{self._base_url}/chat/completions", body))
        except httpx.RequestError as error:
            raise _Retryable(f"{type(error).__name__}: {error}") from None  # the request holds the key: no context
        if response.status_code == 200:
            return self._without_pieces(_read(response))
        if response.status_code in (408, 409, 425, 429) or response.status_code >= 500:
            problem = f"HTTP {response.status_code}: {_message(response)}"
            raise _Retryable(problem, _retry_after(response.headers.get("Retry-After", "")))
        if refused := _refusal(response):
            return Completion(text="", finish="refused", refused=refused)
        raise self._explain(response)

    def _explain(self, response: httpx.Response) -> ParamsError:
        status, said = response.status_code, self._hide(_message(response))
        if status in (401, 403):
            remedy = f"Put a valid key in the variable {self._key_variable}"
            if not self._key:
                remedy = "Name the environment variable that holds the key"
            return ParamsError(f"judge.api_key_env: {self._base_url} refuses access (HTTP {status}). {remedy}.")
        if status == 404:
            return ParamsError(
                f"judge.model, judge.base_url: {self._base_url} has no such model or path (HTTP 404: {said}). "
                "Correct one of them; base_url often ends in /v1."
            )
        return ParamsError(
            f"judge: {self._base_url} rejects the request (HTTP {status}: {said}). Correct judge.model, "
            "judge.max_tokens, judge.temperature or judge.request."
        )

    def _without_key(self, response: httpx.Response) -> httpx.Response:
        """The same answer with *** wherever the endpoint sends the key back, however JSON lets it be written."""
        if len(self._key) < _SHORTEST_SECRET:
            return response
        try:
            text = json.dumps(response.json())  # one way of writing, so that \u0073k-... is found too
        except (ValueError, RecursionError):  # no JSON that anybody reads
            text = response.text
        text = text.replace(json.dumps(self._key)[1:-1], "***")
        return httpx.Response(response.status_code, headers=response.headers, text=self._hide(text))

    def _without_pieces(self, completion: Completion) -> Completion:
        """Log-probabilities cut a text into tokens: where these make up the key, they are not kept."""
        tokens = "".join(place["token"] for place in completion.logprobs or ())
        found = len(self._key) >= _SHORTEST_SECRET and self._key in tokens
        return replace(completion, logprobs=None) if found else completion

    def _hide(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def _read(response: httpx.Response) -> Completion:
    """The answer in an HTTP 200. A body that is no chat completion may be a proxy's or a half-started server's."""
    try:
        body = response.json()
        choice = body["choices"][0]
        message, finish = choice["message"], str(choice.get("finish_reason") or "")
        text = _text(message["content"])
        usage = body.get("usage") or {}
        refused = "content_filter" if finish == "content_filter" else "refusal" if message.get("refusal") else ""
        return Completion(
            text=text.encode("utf-8", "replace").decode("utf-8"),  # no lone surrogates in our files
            finish=finish,
            refused="" if text.strip() else refused,
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or 0),
            model=str(body.get("model") or ""),
            logprobs=_logprobs(choice.get("logprobs")),
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise _Retryable(f"HTTP 200, but no chat completion ({type(error).__name__}: {error})") from None


def _text(content: Any) -> str:
    """The text of an answer, also where it comes in parts; parts of other kinds (reasoning, for one) are no answer."""
    if isinstance(content, list):
        return "".join(str(part["text"]) for part in content if part["type"] in ("text", "output_text"))
    if not (content is None or isinstance(content, str)):
        raise TypeError(f"content is {type(content).__name__}")
    return content or ""


def _logprobs(said: Any) -> list[dict[str, Any]] | None:
    """The log-probabilities of an answer's tokens, with those of the likeliest ones at each place."""
    if not said or said.get("content") is None:
        return None
    return [
        {
            "token": str(place["token"]),
            "logprob": float(place["logprob"]),
            "top": {str(one["token"]): float(one["logprob"]) for one in place.get("top_logprobs") or ()},
        }
        for place in said["content"]
    ]


def _error(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return {}
    error = body.get("error", body) if isinstance(body, dict) else {}
    return error if isinstance(error, dict) else {"message": str(error)}


def _message(response: httpx.Response) -> str:
    said = _error(response).get("message") or response.text
    return " ".join(str(said).split())[:300] or "no message"


def _refusal(response: httpx.Response) -> str:
    """Why the endpoint refuses this one question (too long, filtered), '' if something else is wrong."""
    if response.status_code == 413:
        return "context_length_exceeded"
    code = str(_error(response).get("code"))
    if response.status_code == 400 and "maximum context length" in _message(response):
        return "context_length_exceeded"  # vLLM says it in words only
    return code if response.status_code == 400 and code in _REFUSALS else ""


def _retry_after(value: str) -> float:
    """Seconds to wait by a Retry-After header (seconds or an HTTP date); 0 for none."""
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except ValueError:
        return 0.0
