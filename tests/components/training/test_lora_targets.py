"""What LoRA is to adapt is asked of the loaded model: layers that are there, and weights that are theirs alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from components.errors import ParamsError
from components.training.lora import add_adapters, merge_adapters
from components.training.lora_targets import ADAPTABLE, check_targets
from components.training.params import Lora
from tests.components.training.helpers import weights
from tests.tiny import tiny_model

IDS = torch.tensor([[7, 8, 9, 10]])


def test_names_that_are_not_layers_are_refused() -> None:
    for target in ("no_such_layer", "input_layernorm", "act_fn", "proj"):
        with pytest.raises(ParamsError, match=rf"\(got {target}\). Choose from down_proj, embed_tokens"):
            check_targets(tiny_model(), Lora(rank=2, targets=("q_proj", target)))


@pytest.mark.filterwarnings("ignore:Model (has|with)")  # peft says so too, and goes on
def test_an_adapter_on_shared_weights_is_refused_since_it_cannot_be_merged() -> None:
    """The reason, measured: merged into the shared weights the adapter moves the embeddings as well."""
    lora = Lora(rank=2, targets=("lm_head",))
    gaps = {}
    for tied in (False, True):
        model = add_adapters(tiny_model(tie_word_embeddings=tied), lora, seed=0)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.ones_(parameter)
        with torch.no_grad():
            trained = model(input_ids=IDS).logits
            gaps[tied] = float((merge_adapters(model)(input_ids=IDS).logits - trained).abs().max())
    assert gaps[False] < 1e-3 < 0.1 < gaps[True]
    check_targets(tiny_model(), lora)
    with pytest.raises(ParamsError, match=r"lm_head shares its weights with model.embed_tokens"):
        check_targets(tiny_model(tie_word_embeddings=True), lora)


def test_all_linear_leaves_the_output_layer_out() -> None:
    check_targets(tiny_model(tie_word_embeddings=True), Lora(rank=2))


BASE = {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
GROUPED = {"num_key_value_heads": 2, "head_dim": 8}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {},
    "gpt2": {},
    "gpt_neox": {},
    "bloom": {},
    "falcon": {},
    "opt": {"word_embed_proj_dim": 16, "ffn_dim": 32},
    "gemma3_text": GROUPED,
    "mixtral": {"num_local_experts": 2, **GROUPED},
    "xglm": {"num_layers": 1, "attention_heads": 2, "d_model": 16, "ffn_dim": 32},
    "biogpt": {},
    "mpt": {"d_model": 16, "n_heads": 2, "n_layers": 1},
    "phi": {},
    "starcoder2": GROUPED,
    "qwen2": GROUPED,
}
MOVED_POSITIONS = {"opt", "biogpt"}  # tables of positions that begin with rows of their own


def model_of(kind: str, **changes: Any) -> Any:
    config: Any = AutoConfig.for_model(kind, **{**BASE, **ARCHITECTURES.get(kind, {}), **changes})
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).float().eval()


def layers_of(model: Any) -> list[str]:
    return sorted({n.rsplit(".", 1)[-1] for n, m in model.named_modules() if isinstance(m, ADAPTABLE)})


@pytest.mark.filterwarnings("ignore:Model (has|with)")
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_what_may_be_adapted_can_be_merged(kind: str, tied: bool) -> None:
    """Every layer of every architecture, one name at a time: refused, or merged it is what it was with the adapter."""
    refused = set()
    names = layers_of(model_of(kind, tie_word_embeddings=tied))
    for target in names:
        model, lora = model_of(kind, tie_word_embeddings=tied), Lora(rank=2, targets=(target,))
        try:
            check_targets(model, lora)
        except ParamsError:
            refused.add(target)
            continue
        assert largest_change(model, lora) < 1e-5, target
    positions = {"embed_positions"} & set(names) if kind in MOVED_POSITIONS else set()
    if tied:
        assert len(refused) == 2 + len(positions), "the embeddings and the output layer, whatever they are called"
    else:
        assert refused == positions


@torch.no_grad()
def largest_change(model: Any, lora: Lora) -> float:
    """By the merge, where adapters are random numbers."""
    adapted = add_adapters(model, lora, seed=0)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            parameter.normal_(std=0.1)
    said = adapted(input_ids=IDS).logits
    return float((merge_adapters(adapted)(input_ids=IDS).logits - said).abs().max() / said.abs().max())


def test_layers_that_do_more_than_plain_ones_are_rehearsed_and_left_as_they_were() -> None:
    """An offset of positions is lost under an adapter, a scale is not; the model is the same to the bit afterwards."""
    with pytest.raises(ParamsError, match=r"an adapter on model.decoder.embed_positions cannot be merged.*\(got OPTL"):
        check_targets(model_of("opt", tie_word_embeddings=False), Lora(rank=2, targets=("q_proj", "embed_positions")))
    for kind, targets in (("gemma3_text", ("embed_tokens",)), ("falcon", ("all-linear",))):
        model = model_of(kind, tie_word_embeddings=False)
        before = weights(model)
        check_targets(model, Lora(rank=2, targets=targets))
        assert before.keys() == model.state_dict().keys()
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_peft_cannot_adapt_is_one_line() -> None:
    """Mamba's kernels read the weights of some layers without calling the layer."""
    model = model_of("mamba", state_size=4)
    with pytest.raises(ParamsError, match=r"^policy_optimization.lora.targets: this model's layers cannot.*out_proj"):
        check_targets(model, Lora(rank=2), "policy_optimization.lora.targets")
    check_targets(model_of("mamba", state_size=4), Lora(rank=2, targets=("in_proj", "x_proj")))
