"""Tiny models of many architectures, random weights, and every way in which their numbers are computed.

python -m tests.architectures                 # the table of docs/architectures.md
python -m tests.architectures --write
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from components.contract import Choice
from components.errors import ArtifactError
from components.generation.params import Sampler
from components.generation.sample import sample
from components.preference_models.network import new_network
from components.preference_models.readings import readings
from components.sequences import Example
from components.sequences import Sequence as Row
from components.training.batching import collate, collate_shared
from components.training.logprobs import completion_logps, sequence_logprobs
from components.training.params import Compute
from components.training.scorer import share_prompts
from tests.tiny import tiny_tokenizer

PAGE = Path(__file__).resolve().parent.parent / "docs" / "architectures.md"
SIZES: dict[str, Any] = {
    "vocab_size": 330,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
MIXED = {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LINEAR = {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "shared_expert_intermediate_size": 16,
}
STATES = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 16}
LATENT = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "head_dim": 4,
    "num_key_value_heads": 4,
}


def _rope(kind: str, **more: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0, "factor": 4.0, **more}}


KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "Llama": ("llama", {}),
    "Llama, RoPE linear": ("llama", _rope("linear")),
    "Llama, RoPE yarn": ("llama", _rope("yarn", original_max_position_embeddings=64)),
    "Llama 3 RoPE": (
        "llama",
        _rope("llama3", low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64),
    ),
    "Mistral (window)": ("mistral", {"sliding_window": 16}),
    "Gemma": ("gemma", {}),
    "Gemma 2 (window, soft caps)": (
        "gemma2",
        {**MIXED, "query_pre_attn_scalar": 8, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 5.0},
    ),
    "Gemma 3 (window)": ("gemma3_text", MIXED),
    "Qwen 2 (window)": ("qwen2", {**MIXED, "use_sliding_window": True}),
    "Qwen 3 (window)": ("qwen3", {**MIXED, "use_sliding_window": True}),
    "Qwen 3 MoE": ("qwen3_moe", EXPERTS),
    "Qwen 3 Next (linear attention)": (
        "qwen3_next",
        {**EXPERTS, **LINEAR, "layer_types": ["linear_attention", "full_attention"]},
    ),
    "Phi": ("phi", {}),
    "GPT-2 (learned positions)": ("gpt2", {}),
    "GPT-Neo (local attention)": (
        "gpt_neo",
        {"num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]], "window_size": 16},
    ),
    "GPT-J": ("gptj", {"n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 256, "rotary_dim": 4}),
    "GPT-NeoX": ("gpt_neox", {}),
    "OPT (learned positions)": ("opt", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    "BLOOM (ALiBi)": ("bloom", {"n_layer": 2, "n_head": 4}),
    "MPT (ALiBi)": ("mpt", {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 256}),
    "Falcon": ("falcon", {"head_dim": None}),
    "Falcon (ALiBi)": ("falcon", {"head_dim": None, "alibi": True}),
    "Mamba": ("mamba", {"state_size": 8}),
    "Mamba 2": ("mamba2", {"state_size": 8, "num_heads": 8, "n_groups": 1, "chunk_size": 16}),
    "RecurrentGemma": (
        "recurrent_gemma",
        {"lru_width": 32, "attention_window_size": 16, "block_types": ["recurrent", "attention"]},
    ),
    "Jamba (hybrid, MoE)": (
        "jamba",
        {
            "num_hidden_layers": 4,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "expert_layer_period": 2,
            "num_experts": 2,
            "use_mamba_kernels": False,
            "mamba_d_state": 8,
        },
    ),
    "Bamba (hybrid)": ("bamba", {"attn_layer_indices": [1], **STATES}),
    "Falcon-H1 (hybrid)": (
        "falcon_h1",
        {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_chunk_size": 16},
    ),
    "LFM 2 (hybrid)": ("lfm2", {"layer_types": ["conv", "full_attention"], "block_ff_dim": 48}),
    "RWKV": ("rwkv", {"attention_hidden_size": 32, "context_length": 256}),
    "Mixtral (MoE, window)": ("mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 16}),
    "OLMoE": ("olmoe", {"num_experts": 4, "num_experts_per_tok": 2}),
    "gpt-oss (sinks, MoE)": ("gpt_oss", {**MIXED, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "Llama 4 (chunks, MoE)": (
        "llama4_text",
        {
            "attention_chunk_size": 16,
            "num_local_experts": 2,
            "num_experts_per_tok": 1,
            "intermediate_size_mlp": 48,
            "no_rope_layers": [1, 0],
            "layer_types": ["chunked_attention", "full_attention"],
            "moe_layers": [1],
        },
    ),
    "DeepSeek V3 (latent attention)": (
        "deepseek_v3",
        {**LATENT, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1}
        | {"moe_intermediate_size": 16, "first_k_dense_replace": 1},
    ),
    "Cohere": ("cohere", {}),
    "StableLM": ("stablelm", {}),
    "OLMo 2": ("olmo2", {}),
    "Granite": ("granite", {}),
    "SmolLM 3": ("smollm3", {"no_rope_layers": [1, 0]}),
}
"""By name: the model type of transformers, and its settings beside or instead of SIZES; None leaves one out."""
WAYS = ("padded", "batches", "shared", "sampled", "reward padded", "reward shared")
"""What is compared with each row alone, by the model's own logits (rewards: by the row alone)."""

_WORDS = torch.randint(10, 320, (256,), generator=torch.Generator().manual_seed(3)).tolist()
_LONG, _SHORT = _WORDS[:40], _WORDS[40:47]
ROWS = [
    Row(prompt, _WORDS[start:end])
    for prompt, start, end in ((_LONG, 50, 80), (_LONG, 80, 92), (_SHORT, 92, 100), (_SHORT, 100, 160))
]
"""Two prompts, shorter and longer than a window or a chunk of 16, with completions of 8 to 60 tokens."""
EXAMPLES = [Example((one, other)) for one, other in ((ROWS[0], ROWS[1]), (ROWS[2], ROWS[3]))]
CPU = torch.device("cpu")


def build(name: str) -> Any:
    """The model, fp32, weights from N(0, 0.3): large enough that attention is far from uniform."""
    kind, settings = KINDS[name]
    config = AutoConfig.for_model(kind, **{k: v for k, v in {**SIZES, **settings}.items() if v is not None})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    model.tie_weights()
    return model


@torch.no_grad()
def by_itself(model: Any, prompt: Sequence[int], completion: Sequence[int]) -> Tensor:
    """[T] log-probabilities of a completion by the model's own logits over the row alone."""
    logits = model(input_ids=torch.tensor([[*prompt, *completion]]), use_cache=False).logits[0].float()
    return logits.log_softmax(-1)[len(prompt) - 1 : -1].gather(1, torch.tensor(completion)[:, None])[:, 0]


def _policy_gaps(model: Any) -> dict[str, float | str]:
    alone = torch.cat([by_itself(model, row.prompt_ids, row.completion_ids) for row in ROWS])

    def gap(tokens: Tensor) -> float:
        return float((tokens - alone).abs().max())

    found: dict[str, float | str] = {"padded": gap(completion_logps(model, collate(ROWS, CPU)).tokens)}
    some = sequence_logprobs(model, ROWS, device=CPU, precision="fp32", micro_batch_tokens=110)
    found["batches"] = gap(torch.tensor([value for row in some for value in row]))
    found["shared"] = "not taken"
    if share_prompts("always", EXAMPLES, model, lambda model, batch: completion_logps(model, batch).tokens, CPU):
        found["shared"] = gap(completion_logps(model, collate_shared(ROWS, [0, 0, 1, 1], CPU)).tokens)
    return found


def _sampled_gap(model: Any) -> float:
    """Log-probabilities as sampled, against those of the rows that came out."""
    prompts = [_LONG, _SHORT]
    options = {"samples_per_prompt": 2, "keys": ["a", "b"], "device": CPU}
    made = sample(model, tiny_tokenizer(), prompts, Sampler(max_new_tokens=24), **options)
    gaps = [
        (by_itself(model, prompts[i // 2], one.token_ids) - torch.tensor(one.logprobs)).abs().max()
        for i, one in enumerate(made)
    ]
    return float(max(gaps))


@torch.no_grad()
def _reward_gaps(model: Any, folder: Path) -> dict[str, float | str]:
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    kind = Choice("scalar", {}, 1)
    try:
        network, _ = new_network(folder, kind, Compute(threads=1), seed=0)
    except ArtifactError:
        return dict.fromkeys(WAYS[4:], "refused")
    alone = torch.cat([readings(network, kind, collate([row], CPU)) for row in ROWS])
    found: dict[str, float | str] = {}
    found["reward padded"] = float((readings(network, kind, collate(ROWS, CPU)) - alone).abs().max())
    found["reward shared"] = "not taken"
    if share_prompts("always", EXAMPLES, network, lambda network, batch: readings(network, kind, batch), CPU):
        shared = readings(network, kind, collate_shared(ROWS, [0, 0, 1, 1], CPU))
        found["reward shared"] = float((shared - alone).abs().max())
    return found


def gaps(name: str, folder: Path) -> dict[str, float | str]:
    """The largest difference by way, `not taken` where preflow sees that a way is not the same, or `refused`."""
    with torch.no_grad():
        model = build(name)
        found = _policy_gaps(model)
        found["sampled"] = _sampled_gap(model)
    return {**found, **_reward_gaps(model, folder)}


def page(measure: Callable[[str], dict[str, float | str]]) -> str:
    """docs/architectures.md: what each way computes, rounded up to a power of ten."""
    lines = [
        "# Architectures",
        "",
        "One number, whatever path. Largest difference of a token's log-probability (nats) or of a reward from the row",
        "computed alone, fp32, tiny models with random weights; rows of 15 to 70 tokens, windows and chunks of 16.",
        "",
        "`padded`: beside longer rows. `batches`: in micro-batches by a budget of tokens. `shared`: the prompt of",
        "several completions computed once. `sampled`: while it was sampled, two samples a prompt. `not taken`:",
        "measured before training, or before sampling, to be another number for this model, so each row is computed by",
        "itself. `refused`: transformers has no classifier with one linear layer for it.",
        "",
        "RoPE that changes with the longest row of a batch (`dynamic`, `longrope`) is held to the positions within",
        "which it does not: `base_model` says how many. Models without a cache of the usual kind (states, for one) are",
        "sampled from the whole row.",
        "",
        "Made by `python -m tests.architectures --write`; the same comparison is `tests/components/training/`",
        "`test_architectures.py`.",
        "",
        "| architecture | " + " | ".join(WAYS) + " |",
        "|" + "---|" * (len(WAYS) + 1),
    ]
    for name in KINDS:
        found = measure(name)
        lines.append(f"| {name} | " + " | ".join(_shown(found[way]) for way in WAYS) + " |")
    return "\n".join(lines) + "\n"


def _shown(gap: float | str) -> str:
    if isinstance(gap, str):
        return gap
    return next(f"< 1e{power}" for power in range(-6, 3) if gap < 10.0**power)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write docs/architectures.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        text = page(lambda name: gaps(name, Path(folder) / name.split()[0].strip(",")))
    print(text)
    if options.write:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
