"""Set a process up for reproducible computing, and load models. Import only from `run.py` (needs torch)."""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from components.errors import ArtifactError, ParamsError, first_line
from components.training.params import Compute

LOADING_ERRORS = (
    OSError,
    ValueError,
    LookupError,
    RuntimeError,
    TypeError,
    AttributeError,
    AssertionError,
    ImportError,
    SafetensorError,
    StrictDataclassError,
)
"""What transformers raises, by the kind of damage, for a folder that it cannot make a model of."""


def setup(compute: Compute, seed: int) -> torch.device:
    """Threads, seed and device of this process; call it first.

    Raises ParamsError if the device is not there, or if the number of processes is not the one in the parameters
    (launchers can start one silently, or several that do not know of each other).
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world != compute.processes:
        raise ParamsError(
            f"compute.processes: the run has another number of processes (got {world}, want {compute.processes}). "
            f"Launch it with: torchrun --nproc_per_node {compute.processes} -m components run ... On several machines, "
            "run on each: torchrun --nnodes MACHINES --nproc_per_node PROCESSES_HERE --rdzv_backend c10d "
            "--rdzv_endpoint HOST:29500 -m components run ..."
        )
    torch.set_num_threads(compute.threads)
    torch.manual_seed(seed)
    if compute.device == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ParamsError(
            "compute.device: no CUDA device is visible (got cuda). Set compute.device: cpu, or use a GPU."
        )
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


def autocast(device: torch.device | str, precision: str, cache: bool = True) -> AbstractContextManager[Any]:
    """bf16 autocast if asked for, else a context that does nothing.

    `cache` keeps the bf16 copy of every weight until the end of the context: faster where it is used again.
    """
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=cache)


def device_of(compute: Compute) -> torch.device:
    """The device that `setup` chose for this process."""
    if compute.device == "cpu":
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def load_tokenizer(path: Path) -> Any:
    """The tokenizer of a policy, with its chat template. A missing pad token becomes EOS: masks come from lengths, so
    sharing the id is harmless."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{path}: the tokenizer cannot be loaded ({first_line(error)}). Rerun base_model."
        ) from error
    if tokenizer.eos_token_id is None:
        raise ArtifactError(f"{path}: the tokenizer has no EOS token, so no answer could end. Set eos_token in it.")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_policy(path: Path, compute: Compute) -> tuple[Any, Any]:
    """(model, tokenizer) of a policy artifact: safetensors only, fp32 weights, eval mode, on the device of `compute`.

    Raises ArtifactError if something is missing, too many or of another shape, or if the tokenizer has ids that the
    model has no embedding for.
    """
    path = Path(path)
    tokenizer = load_tokenizer(path)
    model = load_model(path, "Rerun its step")
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise ArtifactError(
            f"{path}: the tokenizer has more tokens than the model (got {len(tokenizer)} > {rows}). "
            "They do not belong together: take both from one folder."
        )
    return model.to(device_of(compute)), tokenizer


def load_model(path: Path, remedy: str, name: Path | None = None, architecture: Any = AutoModelForCausalLM) -> Any:
    """The model of a folder, whole, by a class of transformers that chooses one: fp32, eval mode, on the CPU.

    Messages begin with `name` (the folder as the user knows it; `path` if not given) and end with `remedy`.

    Raises ArtifactError if it cannot be loaded, or if its weights are not exactly those that the model needs:
    transformers itself would fill what is missing with random numbers, leave out what it has no place for, and add the
    adapter that lies beside them.
    """
    name = name or path
    if (path / "adapter_config.json").exists():
        raise ArtifactError(f"{name}: an adapter lies beside the model (got adapter_config.json). {remedy}.")
    try:
        loaded: Any = architecture.from_pretrained(
            path,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # to be told of all of them in the report
        )
    except LOADING_ERRORS as error:
        raise ArtifactError(f"{name}: the model cannot be loaded ({first_line(error)}). {remedy}.") from error
    model, report = loaded
    shapes = [f"{tensor} {list(there)} for {list(want)}" for tensor, there, want in report["mismatched_keys"]]
    for what, names in (
        ("weights are missing (got none for", report["missing_keys"]),
        ("weights have another shape than the config says (got", shapes),
        ("weights have no place in the model that the config describes (got", report["unexpected_keys"]),
        ("weights cannot be read (got", report["error_msgs"]),
    ):
        if names:
            first = ", ".join(sorted(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            raise ArtifactError(f"{name}: {what} {first}). {remedy}.")
    return model.eval()


def save_policy(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a policy artifact: config, safetensors, tokenizer, template. No paths or clocks in it."""
    model.config.use_cache = True
    output = model.get_output_embeddings()
    if output is not None and output.weight is not model.get_input_embeddings().weight:
        model.config.tie_word_embeddings = False  # what transformers tells from the weights, other programs read here
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config.pop("_name_or_path", None) is not None:  # a path of this machine must not get into the bytes
        (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
