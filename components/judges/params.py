"""Parameters of a judge, shared by every component that asks one. Torch-free."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from components.errors import ParamsError

_SET_BY_US = ("messages", "stream", "n", "model", "temperature")


@dataclass(frozen=True)
class JudgeParams:
    """Who compares two completions, and how it is asked."""

    kind: Literal["simulated", "openai"] = "simulated"
    """simulated: the known truth of the simulated world plus noise (no service needed); openai: any endpoint that
    speaks the OpenAI chat-completions protocol (vLLM, llama.cpp, Ollama, hosted services)."""
    model: str = ""
    """openai: the model name sent to the endpoint."""
    revision: str = ""
    """openai: which snapshot of the model the endpoint serves (a date, a weights id). Empty: the name says it all.
    Part of the cache key: change it when the endpoint changes behind its name."""
    base_url: str = ""
    """openai: the part of the address before /chat/completions, e.g. http://localhost:8000/v1."""
    api_key_env: str = ""
    """openai: the NAME of the environment variable that holds the key, never the key. Empty: no key is sent."""
    contract: Literal["pair_verdict"] = "pair_verdict"
    """The prompt contract: what is asked and how the answer is read."""
    temperature: float = 0.0
    """openai: sampling temperature of the judge."""
    max_tokens: int = 1024
    """openai: longest answer of the judge. An answer cut off there has no verdict."""
    retries: int = 5
    """openai: how often a request is repeated after HTTP 429, 5xx, a timeout or a lost connection."""
    concurrency: int = 8
    """openai: most requests in flight at once."""
    timeout: float = 120.0
    """openai: seconds without an answer after which a request counts as failed."""
    request: dict[str, Any] = field(default_factory=dict)
    """openai: further fields of the request body; null removes one. For models that want it:
    {max_tokens: null, max_completion_tokens: 4096}."""
    noise: float = 0.0
    """simulated: standard deviation of the noise on the utility difference."""
    position_bias: float = 0.0
    """simulated: added to the utility of the completion shown first."""
    seed: int = 0
    """simulated: seed of the noise."""

    def check(self) -> None:
        if self.kind == "openai":
            self._check_endpoint()
        for name in ("temperature", "noise", "retries"):
            if getattr(self, name) < 0:
                raise ParamsError(f"{name}: must not be negative (got {getattr(self, name)}). Use 0 or more.")
        for name in ("concurrency", "max_tokens", "timeout"):
            if getattr(self, name) <= 0:
                raise ParamsError(f"{name}: must be positive (got {getattr(self, name)}). Use a larger value.")

    def _check_endpoint(self) -> None:
        if not self.model:
            raise ParamsError("model: is required for kind openai (got ''). Name the model the endpoint serves.")
        url = urlsplit(self.base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ParamsError(
                f"base_url: must be an http(s) address (got '{self.base_url}'). Like http://host:8000/v1."
            )
        if url.username or url.password or url.query:
            raise ParamsError("base_url: holds a user, password or query. Send a key through api_key_env instead.")
        if self.base_url.rstrip("/").endswith("/chat/completions"):
            raise ParamsError(f"base_url: ends in /chat/completions (got '{self.base_url}'). Leave that part out.")
        if self.api_key_env and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.api_key_env):
            raise ParamsError("api_key_env: is not the name of a variable. Put the key in one, and its name here.")
        for name in _SET_BY_US:
            if name in self.request:
                raise ParamsError(f"request: must not set '{name}', which has a meaning of its own here. Remove it.")
