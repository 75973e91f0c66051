"""A preference model that can be asked, loaded from its artifact: the card says of which kind it is.

A folder holds `card.json` and what its kind needs: a network and its tokenizer, or the folders of members. A card
without a kind is that of a reward model made before there were kinds: a scalar one.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from components.contract import Choice, dump
from components.errors import ArtifactError, ParamsError
from components.model_files.positions import check_longest
from components.preference_models.network import load_network
from components.preference_models.readings import Array, pair_logits, probability, read_rows
from components.preference_models.table import PREFERENCE_MODELS, READOUTS, is_scored
from components.preference_models.witness import Pair, Text
from components.records import prompt_key
from components.sequences import encode_pair
from components.training.params import Compute
from components.training.runtime import device_of

CARD = "card.json"
MEMBERS = "members"
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Reading:
    """What is kept of a text, [D] fp64; `clean`: its tokens simply continue those of its prompt."""

    values: Array
    clean: bool


Reader = Callable[[Sequence[Text]], list[Reading]]


class PreferenceModel:
    """A witness. A text is read once, however often it is asked about, so equal texts get exactly equal scores."""

    def __init__(self, kind: Choice, card: dict[str, Any], reader: Reader) -> None:
        self.kind, self.card = kind, card
        self._reader = reader
        self._known: dict[Key, Reading] = {}

    def read(self, texts: Sequence[Text]) -> list[Reading]:
        """One reading per text, in order. Those that are new are read together, whatever their order here."""
        keys = [(prompt_key(list(text.messages)), text.completion) for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
        if new:
            order = sorted(new)
            self._known |= dict(zip(order, self._reader([new[key] for key in order]), strict=True))
        return [self._known[key] for key in keys]

    def score(self, texts: Sequence[Text]) -> list[float] | None:
        """See `Witness`."""
        if not is_scored(self.kind.name):
            return None
        return [float(reading.values[0]) for reading in self.read(texts)]

    def compare(self, pairs: Sequence[Pair]) -> list[float]:
        """See `Witness`."""
        if not pairs:
            return []
        found = self.read([Text(pair.messages, text) for pair in pairs for text in (pair.a, pair.b)])
        values = torch.from_numpy(np.stack([reading.values for reading in found]))
        p: list[float] = probability(pair_logits(self.kind, values[0::2], values[1::2]).numpy()).tolist()
        return p

    def explain(self, pairs: Sequence[Pair]) -> None:
        """None: it cannot say why."""


def load_preference_model(path: Path, compute: Compute, micro_batch_tokens: int = 8192) -> PreferenceModel:
    """A preference_model artifact, ready to be asked; on the device of `compute`.

    Raises ArtifactError if its card or what the card names cannot be read, or is of another revision of its kind.
    """
    path = Path(path)
    card = read_card(path)
    kind = _kind(card, path)
    open_reader = _OPEN[PREFERENCE_MODELS[kind.name].facts["reads"]]
    return PreferenceModel(kind, card, open_reader(path, kind, card, compute, micro_batch_tokens))


def read_card(path: Path) -> dict[str, Any]:
    """`card.json`. Raises ArtifactError."""
    try:
        card: dict[str, Any] = json.loads((path / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}/{CARD}: cannot be read ({error}). Pass the output of reward_modeling.") from error
    return card


def _kind(card: dict[str, Any], path: Path) -> Choice:
    try:
        kind: Choice = PREFERENCE_MODELS.choose("kind", card.get("kind", {"name": "scalar"}))
    except ParamsError as error:
        raise ArtifactError(f"{path}/{CARD}: {error}") from error
    return kind


def network_reader(
    network: Any, tokenizer: Any, kind: Choice, compute: Compute, micro_batch_tokens: int, progress: str = ""
) -> Reader:
    """Reads texts with a network."""

    def read(texts: Sequence[Text]) -> list[Reading]:
        encoded = [encode_pair(tokenizer, text.messages, text.completion) for text in texts]
        check_longest(network, max((len(one.row) for one in encoded), default=0), "preference model")
        values = read_rows(
            network,
            kind,
            [one.row for one in encoded],
            device=device_of(compute),
            precision=compute.precision,
            micro_batch_tokens=micro_batch_tokens,
            progress=progress,
        )
        return [Reading(value, one.prefix_ok) for value, one in zip(values, encoded, strict=True)]

    return read


def _open_network(path: Path, kind: Choice, card: dict[str, Any], compute: Compute, micro_batch_tokens: int) -> Reader:
    network, tokenizer = load_network(path, kind, compute)
    return network_reader(network, tokenizer, kind, compute, micro_batch_tokens, progress="preference model")


def _open_members(path: Path, kind: Choice, card: dict[str, Any], compute: Compute, micro_batch_tokens: int) -> Reader:
    folders = [path / MEMBERS / name for name in card.get(MEMBERS, ())]
    if not folders:
        raise ArtifactError(f"{path}/{CARD}: a {kind.name} model names its members (got none). Make it again.")
    members = [load_preference_model(folder, compute, micro_batch_tokens) for folder in folders]
    moments = [_moments(member.card, folder) for member, folder in zip(members, folders, strict=True)]

    def read(texts: Sequence[Text]) -> list[Reading]:
        found = [member.read(texts) for member in members]
        units = np.array([[one.values[0] for one in row] for row in found])  # [M, n]
        units = np.stack([(row - mean) / std for row, (mean, std) in zip(units, moments, strict=True)], axis=1)
        scores = PREFERENCE_MODELS.bind(kind)(torch.from_numpy(units)).numpy()
        return [Reading(scores[i : i + 1], all(row[i].clean for row in found)) for i in range(len(texts))]

    return read


_OPEN = {**dict.fromkeys(READOUTS, _open_network), MEMBERS: _open_members}


def _moments(card: dict[str, Any], folder: Path) -> tuple[float, float]:
    """(mean, standard deviation) of a member's scores, which its card says: members have scales of their own."""
    reward = card.get("reward") or {}
    if not all(isinstance(reward.get(key), (int, float)) for key in ("mean", "std")) or not (
        math.isfinite(reward["mean"]) and 0 < reward["std"] < math.inf
    ):
        raise ArtifactError(
            f"{folder}/{CARD}: says no mean and deviation of scores, or none (got {reward}). "
            "A member must be a preference model with scores."
        )
    return float(reward["mean"]), float(reward["std"])


def save_combined(members: Sequence[tuple[Path, str]], kind: Choice, folder: Path) -> None:
    """Write a model over members, (folder, content id) each, which are copied into it.

    Raises ArtifactError if there is none, or one without scores, or one that cannot be asked.
    """
    if not members:
        raise ArtifactError(f"{folder}: a {kind.name} model needs members (got none). Give it some.")
    for member, _ in members:
        _moments(read_card(member), member)
        _check_answers(member)
    names = [f"{i:02d}" for i in range(len(members))]
    for name, (member, _) in zip(names, members, strict=True):
        shutil.copytree(member, folder / MEMBERS / name)
    write_card(folder, {"kind": dump(kind), MEMBERS: names, "ids": [oid for _, oid in members]})


def _check_answers(member: Path) -> None:
    """Raise ArtifactError unless a member loads whole and gives a text a finite score."""
    found = load_preference_model(member, Compute()).score([Text([{"role": "user", "content": "a"}], "b")])
    if not found or not math.isfinite(found[0]):
        raise ArtifactError(
            f"{member}: gives a text no finite score (got {found}). Its weights hold values that are no numbers, or it "
            "has no scores: leave this member out, or train it again."
        )


def write_card(folder: Path, card: dict[str, Any]) -> None:
    """Write `card.json`."""
    text = json.dumps(card, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (folder / CARD).write_text(text, encoding="utf-8")
