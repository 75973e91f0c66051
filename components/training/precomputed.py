"""Log-probabilities under a reference model: computed once before training, kept as an artifact, cached by key.

The key holds everything that can change a bit of them, the token ids themselves included, so a stale value cannot be
taken for a fresh one.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from components import artifacts
from components.contract.record import canonical
from components.errors import ArtifactError
from components.sequences import Example
from components.training import distributed
from components.training.params import Compute
from components.training.scorer import Scorer

Sections = Mapping[str, Sequence[Example]]
"""What to score, by name: `train`, `validation`, and what statistics of a batch measure beside them."""


def cache_key(
    *,
    reference: str,
    dataset: str,
    tokenizer: Any,
    max_length: int,
    scorer: Scorer,
    compute: Compute,
    sections: Sections,
) -> dict[str, Any]:
    """Everything the values depend on. `reference` and `dataset` are content ids."""
    template = hashlib.sha256(canonical([tokenizer.chat_template, tokenizer.get_vocab()]).encode()).hexdigest()
    return {
        "reference": reference,
        "dataset": dataset,
        "tokenizer_and_template": template,
        "max_length": max_length,
        "compute": asdict(compute),
        "shared_prompts": scorer.shared,
        "micro_batch_tokens": scorer.budget,
        "token_ids": {name: _digest(examples) for name, examples in sections.items()},
    }


def logprobs(
    load: Callable[[], Any], scorer: Scorer, sections: Sections, key: dict[str, Any], cache: Path
) -> dict[str, np.ndarray]:
    """[K, N] summed log-probabilities of each section, from the cache or from the model that `load` gives.

    N examples of up to K sequences; 0 where an example has fewer.
    """
    name = hashlib.sha256(canonical(key).encode()).hexdigest()[:32]
    folder = cache / "reference_logprobs" / name
    if distributed.everywhere(folder.is_dir(), scorer.device):
        return read(folder, key, sections)
    model = load()
    found = {
        name: scorer.by_sequence(model, examples, "logps", f"reference {name}").astype(np.float32)
        for name, examples in sections.items()
        if examples
    }
    for section, values in found.items():
        if bad := int((~np.isfinite(values)).sum()):
            raise ArtifactError(
                f"reference: log-probabilities are not finite (got {bad} of {values.size} in {section}). "
                "The reference model is damaged: rerun the step that made it."
            )
    for turn in range(distributed.world()):  # once per disk: machines may share one or not
        if turn == distributed.rank() and not folder.is_dir():
            temporary = folder.with_name(f"{name}.tmp-{uuid.uuid4().hex[:8]}")
            write(temporary, key, found)
            artifacts.replace(temporary, folder)
        distributed.barrier()
    return found


def write(folder: Path, key: dict[str, Any], values: Mapping[str, np.ndarray]) -> None:
    """`logprobs.safetensors` ([K, N] per section) and `manifest.json` (the key and the shapes)."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(array) for name, array in values.items()}, folder / "logprobs.safetensors")
    manifest = {"key": key, "shapes": {name: list(array.shape) for name, array in values.items()}}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read(folder: Path, key: dict[str, Any], sections: Sections) -> dict[str, np.ndarray]:
    """The values of a folder that `write` made. Raises ArtifactError if they are of another key or incomplete."""
    remedy = f"Delete {folder} and rerun."
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    if manifest["key"] != key:
        changed = sorted(name for name in key if manifest["key"].get(name) != key[name])
        raise ArtifactError(f"reference log-probabilities: stale (got another {', '.join(changed)}). {remedy}")
    values: dict[str, np.ndarray] = load_file(folder / "logprobs.safetensors")
    for name, examples in sections.items():
        shape = (max(len(example.sequences) for example in examples), len(examples)) if examples else None
        found = values[name].shape if name in values else None
        if found != shape or (found and not np.isfinite(values[name]).all()):
            raise ArtifactError(
                f"reference log-probabilities: incomplete (got {found} for {name}, want {shape}). {remedy}"
            )
    return values


def _digest(examples: Sequence[Example]) -> str:
    """A hash of all that is scored, in its order."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(len(example.sequences).to_bytes(4, "little"))
        for sequence in example.sequences:
            digest.update(sequence.key)
    return digest.hexdigest()
