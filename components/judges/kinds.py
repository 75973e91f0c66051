"""Who can be asked: the rows of the table of judges, as parameters. Torch-free, and without the code that asks."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from components.contract.params import EXECUTION
from components.contract.ranges import Count, NonNegative, Positive, Share, Whole
from components.contract.run import Input
from components.errors import ParamsError
from components.judges.contract import PromptContract
from components.judges.reply import Answer, Item, Judge
from components.judges.table import JUDGES

_SET_BY_US = ("messages", "stream", "n", "model", "temperature", "logprobs", "top_logprobs")


@JUDGES.row(name="endpoint", source="the OpenAI chat-completions protocol (vLLM, llama.cpp, Ollama, hosted services)")
@dataclass(frozen=True)
class Endpoint:
    """A language model behind an endpoint. Its answers are kept, so that no question is paid for twice."""

    model: str
    """The model name sent to the endpoint."""
    base_url: str
    """The part of the address before /chat/completions, e.g. http://localhost:8000/v1. Link-local addresses and clouds'
    metadata services are refused unless the variable PREFLOW_JUDGE_ALLOW names their network."""
    model_revision: str = ""
    """Which snapshot of the model the endpoint serves (a date, a weights id). Empty: the name says it all. Part of the
    cache key: change it when the endpoint changes behind its name."""
    api_key_env: str = ""
    """The NAME of the environment variable that holds the key, never the key. Empty: no key is sent."""
    temperature: NonNegative = 0.0
    """Sampling temperature of the judge."""
    max_tokens: Count = 1024
    """Longest answer of the judge. An answer cut off there counts as none."""
    request: dict[str, Any] = field(default_factory=dict)
    """Further fields of the request body; null removes one. For models that want it:
    {max_tokens: null, max_completion_tokens: 4096}."""
    other_models: Share = field(default=0.0, metadata=EXECUTION)
    """Largest share of answers that may come from another model than `model`, by the name that the endpoint states; a
    snapshot of it (a date behind the name) is no other."""
    retries: Whole = field(default=5, metadata=EXECUTION)
    """How often a request is repeated after HTTP 429, 5xx, a timeout or a lost connection."""
    concurrency: Count = field(default=8, metadata=EXECUTION)
    """Most requests in flight at once."""
    timeout: Positive = field(default=120.0, metadata=EXECUTION)
    """Seconds from a request to the last byte of its answer; what takes longer counts as failed."""
    budget_questions: Whole = field(default=0, metadata=EXECUTION)
    """Most questions that one run may send; 0: no limit. Answers that are already there cost nothing."""
    budget_tokens: Whole = field(default=0, metadata=EXECUTION)
    """Most tokens, of prompts and answers together, after which one run sends nothing more; 0: no limit."""

    def check(self) -> None:
        if not self.model:
            raise ParamsError("model: is required (got ''). Name the model the endpoint serves.")
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

    def open(self, contract: PromptContract[Item, Answer], cache: Path, journal: Path | None) -> Judge[Item, Answer]:
        """See `open_judge`. Raises ParamsError when the environment variable that should hold the key is empty."""
        from components.judges.cache import AnswerCache  # here: parameters must load fast
        from components.judges.endpoint import EndpointAsker
        from components.judges.judge import ModelJudge

        return ModelJudge(EndpointAsker(self, AnswerCache(cache / "judges", journal)), contract)


@JUDGES.row(name="local", source="this project", inputs=("model",))
@dataclass(frozen=True)
class Local:
    """A policy on this machine, the input `model`, asked with its own chat template. Its answers are kept, too."""

    temperature: NonNegative = 0.0
    """Sampling temperature of the judge; 0 takes the most likely token."""
    max_tokens: Count = 1024
    """Longest answer of the judge. An answer cut off there counts as none; a question that leaves no room for it in the
    model's positions gets none."""
    seed: int = 0
    """With the question it fixes the random numbers of a sampled answer."""
    batch_size: Count = 8
    """Most questions in one forward pass; it changes an answer only through rounding (in bf16 sooner than in fp32)."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Device type; another type may round differently. On a cluster, ask for a GPU too (docs/kubernetes.md)."""
    threads: Count = 2
    """CPU threads; the split of a sum over threads changes its last bits."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """fp32, or bf16 autocast over fp32 weights."""

    def open(
        self, contract: PromptContract[Item, Answer], cache: Path, journal: Path | None, model: Input
    ) -> Judge[Item, Answer]:
        """See `open_judge`. Raises ParamsError if the model has no room for answers of `max_tokens`."""
        from components.judges.cache import AnswerCache  # here: parameters must load fast
        from components.judges.judge import ModelJudge
        from components.judges.local import LocalAsker

        return ModelJudge(LocalAsker(self, model, AnswerCache(cache / "judges", journal)), contract)


@JUDGES.row(name="simulated", source="this project")
@dataclass(frozen=True)
class Simulated:
    """The known truth of the simulated world, blurred on purpose. For tests, quickstart and experiments; no service."""

    noise: NonNegative = 0.0
    """Standard deviation of the noise on the utility (of a grade) or the utility difference (of a comparison)."""
    position_bias: float = 0.0
    """Added to the utility of the completion shown first."""
    seed: int = 0
    """Seed of the noise."""

    def open(self, contract: PromptContract[Item, Answer], cache: Path, journal: Path | None) -> Judge[Item, Answer]:
        """See `open_judge`. Raises ParamsError for a contract whose kind of answer the truth does not give."""
        from components.judges.simulated import SimulatedJudge

        return SimulatedJudge(self, contract)
