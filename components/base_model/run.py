"""Make the policy that everything starts from."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from components.base_model.conversations import Conversation, Conversations, read_conversations
from components.base_model.fetch import locate
from components.base_model.files import check_files, copy_weights, settle_positions
from components.base_model.params import Params
from components.base_model.soundness import (
    check_causal,
    check_ends,
    check_finite,
    check_kind,
    check_positions,
    check_tied,
)
from components.base_model.tiny import build_model, language_modeling, probe_of, train_tokenizer
from components.base_model.tokens import bring_tokenizer, check_vocabulary
from components.contract import Inputs, Metrics, Outputs
from components.errors import RecordError, WiringError
from components.generation.params import Sampler
from components.generation.sample import sample
from components.records import prompt_key
from components.sequences import Sequence
from components.sequences.tokenize import PROBES, encode_pair, encode_prompt
from components.training import distributed
from components.training.logprobs import sequence_logprobs
from components.training.loop import train, write_log
from components.training.params import Lora
from components.training.runtime import device_of, load_model, load_policy, load_tokenizer, save_policy, setup
from components.training.saved_check import Probe, Said, check_merged, check_reloaded

PROBED, LONGEST = 64, 128  # held-out prompts that are answered, and tokens of an answer, to see whether answers end
BRING_ANOTHER = "Take config.json and weights of one and the same model, whole and as transformers saves them"


def run(params: Params, inputs: Inputs, outputs: Outputs) -> Metrics:
    """Write the policy artifact; load it once from disk to prove that it works."""
    device = setup(params.compute, params.seed)
    if params.source == "tiny":
        return _tiny(params, inputs, outputs, device)
    return _released(params, outputs["policy"])


def _released(params: Params, output: Path) -> Metrics:
    """Check a released model from its files to what it computes, and copy what makes it up. See the modules called."""
    folder, revision = locate(params.source, params.revision)
    config = check_files(folder)
    check_kind(folder)
    check_ends(folder)
    facts = bring_tokenizer(folder, output, config, params.date)
    copy_weights(folder, output)
    model = load_model(output, BRING_ANOTHER, folder).to(device_of(params.compute))
    tokenizer = load_tokenizer(output)
    rows = model.get_input_embeddings().weight.shape[0]
    last, last_id = max(tokenizer.get_vocab().items(), key=lambda item: item[1])
    check_vocabulary(last_id + 1, rows, folder, last)
    check_finite(model, folder)
    check_tied(model, folder)
    limit = settle_positions(output, model.config)
    probe = tokenizer(" ".join(PROBES), add_special_tokens=False)["input_ids"][:limit]
    check_causal(model, probe, tokenizer.eos_token_id, folder)
    check_positions(model, probe, folder)
    return {
        "parameters": _parameters(model),
        "vocab_size": len(tokenizer),
        "embedding_rows": rows,
        "positions": limit,
        "revision": revision,
        **facts,
    }


def _parameters(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _tiny(params: Params, inputs: Inputs, outputs: Outputs, device: torch.device) -> Metrics:
    text = inputs.get("text")
    if text is None:
        raise WiringError(
            "base_model: source 'tiny' learns from the input 'text', which is missing. "
            "Pass --in text=FEEDBACK, or set source to a hub id or folder."
        )
    found = read_conversations(text.path / "records.jsonl", params.held_out)
    texts = [part for item in found.train for part in (*(m["content"] for m in item.messages), item.completion)]
    tokenizer = train_tokenizer(texts, params.tiny)
    model = build_model(tokenizer, params.tiny, params.seed).to(device)
    rows, too_long = _rows(tokenizer, found.train, params.tiny.context)
    if not rows:
        raise RecordError(
            f"base_model: no conversation to learn from (got {len(found.train)}, {too_long} longer than tiny.context, "
            f"{sum(found.dropped.values())} not text). Lower held_out, raise tiny.context, or give more feedback."
        )
    trained = train(
        model,
        language_modeling(rows, device),
        optimization=params.optimization,
        compute=params.compute,
        seed=params.seed,
        identity=outputs.identity,
        workdir=outputs.workdir,
        title="base model",
    )
    if not distributed.is_main():
        return {}
    outputs.execution["train_seconds"] = round(trained.seconds, 3)
    model = _saved(params, model, tokenizer, outputs["policy"], trained.said, probe_of(rows, device))
    write_log(trained.log, outputs["policy"] / "training_log.jsonl")
    return {
        "parameters": _parameters(model),
        "vocab_size": len(tokenizer),
        "chat_template": 1,
        "steps": trained.steps,
        "conversations": len(rows),
        "conversations_too_long": too_long,
        "candidates_not_text_only": found.dropped["not_text_only"],
        "train_loss": trained.log[-1]["loss"],
        **_held_out(model, tokenizer, found, params, device),
    }


def _saved(params: Params, model: Any, tokenizer: Any, folder: Path, trained: Said, say: Probe) -> Any:
    """The trained model, saved and loaded again. Raises ArtifactError if that is another one."""
    check_merged("base_model", trained, merged := say(model), Lora(), params.optimization)
    save_policy(model, tokenizer, folder)
    reloaded, _ = load_policy(folder, params.compute)
    check_reloaded("base_model", merged, say(reloaded), model, reloaded, device_of(params.compute))
    return reloaded


def _rows(tokenizer: Any, conversations: list[Conversation], context: int) -> tuple[list[Sequence], int]:
    """Conversations as rows whose every token but the first is learned; (rows, how many were too long)."""
    encoded = [encode_pair(tokenizer, item.messages, item.completion) for item in conversations]
    whole = [[*item.prompt_ids, *item.completion_ids] for item in encoded]
    rows = [Sequence(ids[:1], ids[1:]) for ids in whole if len(ids) <= context]
    return rows, len(whole) - len(rows)


def _held_out(
    model: Any, tokenizer: Any, found: Conversations, params: Params, device: torch.device
) -> dict[str, float | int]:
    """Loss per token on held-out conversations, and the share of greedy answers that end by themselves."""
    rows, _ = _rows(tokenizer, found.held_out, params.tiny.context)
    if not rows:
        return {"held_out_conversations": 0}
    return {
        "held_out_conversations": len(rows),
        **_held_out_loss(model, rows, params, device),
        "eos_rate": _eos_rate(model, tokenizer, found.held_out, params, device),
    }


def _held_out_loss(model: Any, rows: list[Sequence], params: Params, device: torch.device) -> dict[str, float]:
    scored = sequence_logprobs(
        model,
        rows,
        device=device,
        precision=params.compute.precision,
        micro_batch_tokens=params.optimization.micro_batch_tokens,
    )
    loss = -sum(map(sum, scored)) / sum(map(len, scored))
    return {"held_out_loss": loss, "held_out_perplexity": math.exp(loss)}


def _eos_rate(
    model: Any, tokenizer: Any, conversations: list[Conversation], params: Params, device: torch.device
) -> float:
    """Share of greedy answers to held-out prompts that end by themselves within LONGEST tokens."""
    prompts = {prompt_key(item.messages): encode_prompt(tokenizer, item.messages) for item in conversations}
    short = {key: ids for key, ids in prompts.items() if len(ids) <= params.tiny.context // 2}
    keys = sorted(short)[:PROBED]
    answers = sample(
        model,
        tokenizer,
        [short[key] for key in keys],
        Sampler(temperature=0.0, max_new_tokens=min(LONGEST, params.tiny.context // 2)),
        keys=keys,
        device=device,
        precision=params.compute.precision,
    )
    return sum(answer.finish == "eos" for answer in answers) / len(answers) if answers else 0.0
