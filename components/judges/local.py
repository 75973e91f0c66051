"""Asks a policy on this machine, many questions at a time; keeps the answers. Loads the model for the first question
that nobody has answered yet: what needs torch is imported there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from components.contract.params import dump
from components.contract.run import Input
from components.errors import ParamsError
from components.generation.params import Sampler
from components.judges.asker import Completion, Question
from components.judges.cache import AnswerCache, cache_key
from components.judges.contract import prompt_hash
from components.model_files.positions import prompt_limit

if TYPE_CHECKING:  # the row that opens this
    from components.judges.kinds import Local

TOO_LONG = "context_length_exceeded"  # as endpoints call it


class LocalAsker:
    """Asks a policy artifact with its own chat template. Answers lie in `cache`, so a rerun asks only what is missing.

    A sampled answer has random numbers of its own question; batch mates change an answer only through rounding. The
    shortest questions are asked first, batch by batch, so that a run that goes on has the batches of one that never
    stopped. A question that leaves no room for `max_tokens` in the model's positions is refused, never cut.
    """

    def __init__(self, params: Local, model: Input, cache: AnswerCache) -> None:
        """Raises ParamsError if `max_tokens` leaves no room for any question."""
        self._params, self._policy, self._cache = params, model, cache
        self._room = prompt_limit(model.path, params.max_tokens, "judge.max_tokens")
        self._counts = {"judge_requests": 0, "judge_cache_hits": 0}
        self._loaded: _Model | None = None

    def who(self) -> dict[str, Any]:
        oid = self._policy.id
        return {"id": oid, "kind": "llm", "revision": oid, "temperature": self._params.temperature}

    def execution(self) -> dict[str, int]:
        return dict(self._counts)

    def ask(self, questions: Sequence[Question]) -> list[Completion]:
        keys = [self._key(question) for question in questions]
        unique = dict(zip(keys, questions, strict=True))  # the same question twice is asked once
        known = {key: Completion(**found) for key in unique if (found := self._cache.get(key)) is not None}
        missing = {key: question for key, question in unique.items() if key not in known}
        self._counts["judge_cache_hits"] += len(known)
        try:
            for key, completion in self._answers(missing):
                self._cache.put(key, completion.to_json())
                self._counts["judge_requests"] += 1
                known[key] = completion
        finally:
            self._cache.flush()
        return [known[key] for key in keys]

    def _key(self, question: Question) -> str:
        sample = question.sample if self._params.temperature else 0  # asked again, a greedy judge says the same
        about = {"contract": question.contract, "messages": list(question.messages), "sample": sample}
        judge = {"judge": dump(self._params), "model": self._policy.id}
        return cache_key({**about, **judge, "top_logprobs": question.top_logprobs})

    def _answers(self, missing: Mapping[str, Question]) -> Iterator[tuple[str, Completion]]:
        """(key, completion) batch by batch, what is refused first."""
        if not missing:
            return
        self._loaded = model = self._loaded or _Model(self._params, self._policy)
        prompts = {key: model.encode(question) for key, question in missing.items()}
        fitting = []
        for key in sorted(prompts, key=lambda key: len(prompts[key])):  # stable
            if self._room is None or len(prompts[key]) <= self._room:
                fitting.append(key)
            else:
                yield key, Completion("", "refused", TOO_LONG, len(prompts[key]), model=self._policy.id)
        size = self._params.batch_size
        with tqdm(total=len(fitting), desc="judge", unit="question") as bar:
            for batch in (fitting[start : start + size] for start in range(0, len(fitting), size)):
                yield from zip(batch, model.answer([(missing[key], prompts[key]) for key in batch]), strict=True)
                bar.update(len(batch))


class _Model:
    """A policy that is loaded, and how it answers."""

    def __init__(self, params: Local, policy: Input) -> None:
        """Raises ParamsError if the device is not there, ArtifactError for a damaged policy."""
        from components.training.params import Compute
        from components.training.runtime import load_policy, setup

        compute = Compute(params.device, params.threads, params.precision)
        self._params, self._id = params, policy.id
        self._device = setup(compute, params.seed)
        self._model, self._tokenizer = load_policy(policy.path, compute)
        self._sampler = Sampler(
            temperature=params.temperature,
            max_new_tokens=params.max_tokens,
            seed=params.seed,
            batch_size=params.batch_size,
        )

    def encode(self, question: Question) -> list[int]:
        """Token ids of a question in the policy's own template. Raises ParamsError if the template refuses it."""
        from jinja2 import TemplateError

        from components.sequences.tokenize import encode_prompt

        try:
            return encode_prompt(self._tokenizer, question.messages)
        except TemplateError as error:
            raise ParamsError(
                f"judge: the model's chat template refuses a question of {question.contract} (got {error}). "
                "Choose a model whose template takes messages of system and user."
            ) from error

    def answer(self, asked: Sequence[tuple[Question, list[int]]]) -> list[Completion]:
        """One completion per question and its token ids."""
        from components.generation.sample import sample

        found = sample(
            self._model,
            self._tokenizer,
            [ids for _, ids in asked],
            self._sampler,
            keys=[f"{q.contract} {q.sample} {prompt_hash(q.messages)}" for q, _ in asked],
            device=self._device,
            precision=self._params.precision,
        )
        return [
            Completion(
                text=said.text,
                finish="stop" if said.finish == "eos" else "length",
                prompt_tokens=len(ids),
                completion_tokens=len(said.token_ids),
                model=self._id,
                logprobs=self._logprobs(ids, said, question.top_logprobs) if question.top_logprobs else None,
            )
            for (question, ids), said in zip(asked, found, strict=True)
        ]

    def _logprobs(self, prompt: list[int], said: Any, top: int) -> list[dict[str, Any]]:
        """Of each token of the text (its end is none), at temperature 1 whatever it was sampled at, as endpoints do."""
        import torch

        from components.training.runtime import autocast

        said_ids = said.token_ids[: len(said.token_ids) - (said.finish == "eos")]
        if not said_ids:
            return []
        ids = torch.tensor([[*prompt, *said_ids]], device=self._device)
        with torch.no_grad(), autocast(self._device, self._params.precision):
            logits = self._model(input_ids=ids, logits_to_keep=len(said_ids) + 1).logits[0, :-1]
        logps = logits.float().log_softmax(-1)
        best, tokens = (part.tolist() for part in logps.topk(min(top, logps.shape[-1])))
        own = logps.gather(1, ids[0, len(prompt) :, None])[:, 0].tolist()
        return [
            {
                "token": self._tokenizer.decode([token]),
                "logprob": own[t],
                # reversed: of two tokens that look alike (parts of a character) the likelier one stays
                "top": {
                    self._tokenizer.decode([i]): p for i, p in reversed(list(zip(tokens[t], best[t], strict=True)))
                },
            }
            for t, token in enumerate(said_ids)
        ]
