"""Whether the layers that LoRA is to adapt are there, told from the names of a model's layers.

A target stands for every layer whose dotted name is the target or ends with `.target`, as in peft.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from components.errors import ParamsError
from components.model_files.weights import read_json, stored_tensors

ALL_LINEAR = "all-linear"
TINY_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def check_names(targets: Collection[str], matrices: Collection[str], where: str) -> None:
    """Raise ParamsError unless every target stands for at least one of the layers `matrices` (dotted names)."""
    _check_list(targets, where)
    if tuple(targets) == (ALL_LINEAR,):
        return
    for target in targets:
        if not any(matches(target, name) for name in matrices):
            known = sorted({name.rsplit(".", 1)[-1] for name in matrices})
            raise ParamsError(
                f"{where}: the model has no layer of this name with weights of its own to adapt (got {target}). "
                f"Choose from {', '.join(known)}, or write [{ALL_LINEAR}]."
            )


def _check_list(targets: Collection[str], where: str) -> None:
    if isinstance(targets, str) or not targets:
        raise ParamsError(f"{where}: a list of names (got {targets!r}). Write [{ALL_LINEAR}] or names of layers.")


def matches(target: str, name: str) -> bool:
    """Whether a target stands for the layer `name`."""
    return name == target or name.endswith(f".{target}")


def check_folder(folder: Path, targets: Collection[str], where: str, *, has_output: bool) -> None:
    """The same for the model in `folder`, by the names of its stored matrices: known before anything is loaded.

    `has_output`: a policy is trained, so embeddings that are the output layer's weights, too, cannot be adapted. The
    model itself may have fewer layers of a name (it is asked again once it is loaded), never others.
    """
    _check_list(targets, where)
    stored = stored_tensors(folder).items()
    rows = {n.removesuffix(".weight"): t.shape[0] for n, t in stored if n.endswith(".weight") and len(t.shape) == 2}
    tied = _tied(read_json(folder / "config.json"), rows) if has_output else None
    if tied is not None:
        check_untied(targets, tied, "the output layer", where)
        del rows[tied]
    check_names(_last_names(targets, rows), rows, where)


def check_tiny(targets: Collection[str], where: str, *, has_output: bool) -> None:
    """The same for the model that base_model makes for source `tiny`, a Llama with tied embeddings."""
    _check_list(targets, where)
    if has_output:
        check_untied(targets, "model.embed_tokens", "lm_head", where)
        check_untied(targets, "lm_head", "model.embed_tokens", where)
    names = TINY_LAYERS if has_output else (*TINY_LAYERS, "embed_tokens")
    check_names(_last_names(targets, names), names, where)


def _last_names(targets: Collection[str], names: Collection[str]) -> list[str]:
    """Targets, those cut down that say more than files do: a file may leave out the first of a layer's names."""
    return [next((name for name in names if target.endswith(f".{name}")), target) for target in targets]


def _tied(config: Mapping[str, Any], rows: Mapping[str, int]) -> str | None:
    """The embeddings, if no other matrix has as many rows as there are tokens: then they are the output layer, too."""
    inner = config.get("text_config")
    settings = {**config, **(inner if isinstance(inner, Mapping) else {})}
    vocabulary = [name for name, count in rows.items() if count == settings.get("vocab_size")]
    apart = settings.get("tie_word_embeddings") is False
    return vocabulary[0] if len(vocabulary) == 1 and not apart else None


def check_untied(targets: Collection[str], name: str, twin: str, where: str) -> None:
    """Raise ParamsError if a target stands for the layer `name`, whose weights are those of `twin`, too."""
    for target in targets:
        if matches(target, name):
            raise ParamsError(
                f"{where}: {name} shares its weights with {twin}, so an adapter on it cannot be merged without "
                f"changing {twin}, too (got {target}). Leave it out, or bring in a model with "
                "tie_word_embeddings: false and weights for both."
            )
