"""The weight files of a model's folder: which they are, whether they are whole, and the tensors they say they hold.

Only headers are read: a folder of 100 GB takes milliseconds. Layout of a safetensors file: 8 bytes N (little endian), N
bytes of JSON `{name: {dtype, shape, data_offsets}}`, then the data.
"""

from __future__ import annotations

import json
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import ArtifactError, first_line

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
POINTERS = {b"version https://git-lfs": "Git LFS", b"version https://hawser": "Git LFS", b"# xet version": "Xet"}
SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.safetensors")
AGAIN = "Fetch it again (hf download), or copy it again from where it is whole"


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor as its file describes it; `end` is where its bytes end in the file."""

    dtype: str
    shape: tuple[int, ...]
    file: Path
    end: int


def check_file(path: Path) -> None:
    """Raise ArtifactError unless `path` is a file with content of its own: no pointer, no dead link, no pipe."""
    try:
        kind = path.stat()
        if not stat.S_ISREG(kind.st_mode):
            raise ArtifactError(
                f"{path}: is not a file (got {stat.filemode(kind.st_mode)}). Take it out of the folder."
            )
        with path.open("rb") as stream:
            start = stream.read(64)
    except OSError as error:
        broken = f"a link to {path.readlink()}" if path.is_symlink() else error.strerror
        raise ArtifactError(f"{path}: cannot be read (got {broken}). {AGAIN}.") from error
    for mark, name in POINTERS.items():
        if start.startswith(mark):
            raise ArtifactError(
                f"{path}: is a {name} pointer, not the file itself (got '{mark.decode()}...'). Fetch the file: git lfs "
                "pull in the folder, or hf download."
            )
    if not start.strip():
        raise ArtifactError(f"{path}: is empty (got {kind.st_size} bytes without content). {AGAIN}.")
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise ArtifactError(f"{path}: is a web page (got '{start[:15].decode()}'). Fetch the file itself: hf download.")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises ArtifactError if it is another thing, or not JSON."""
    check_file(path)
    raw = path.read_bytes()
    if raw.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise ArtifactError(f"{path}: begins with a byte order mark (got {raw[:3]!r}). Save it as UTF-8 without one.")
    try:
        found = json.loads(raw)
    except ValueError as error:
        raise ArtifactError(f"{path}: is not JSON (got {error}). {AGAIN}.") from error
    if not isinstance(found, dict):
        raise ArtifactError(f"{path}: must hold one JSON object (got {type(found).__name__}). {AGAIN}.")
    return found


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights: model.safetensors, or every shard that the index names.

    Raises ArtifactError if there are none, if shards or their index are missing, or if there are two sets.
    """
    single, index = folder / SINGLE, folder / INDEX
    shards = sorted({str(name) for name in _weight_map(index).values()}) if _is_there(index) else []
    if _is_there(single) and shards not in ([], [SINGLE]):
        raise ArtifactError(
            f"{folder}: two sets of weights (got {SINGLE} and {len(shards)} shards of {INDEX}). Keep the right one."
        )
    if _is_there(single):
        return [single]
    if not shards:
        _refuse(folder)
    missing = [name for name in shards if not _is_there(folder / name)]
    if missing:
        raise ArtifactError(
            f"{folder}: {len(missing)} of {len(shards)} weight files are missing (got no {_some(missing)}). {AGAIN}."
        )
    return [folder / name for name in shards]


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()  # a dead link is there, and is told of as such


def _weight_map(index: Path) -> dict[str, Any]:
    found = read_json(index).get("weight_map")
    names = found.values() if isinstance(found, dict) else []
    if not names or not all(isinstance(name, str) and name == Path(name).name for name in names):
        raise ArtifactError(f"{index}: weight_map must name files of this folder (got {str(found)[:60]!r}). {AGAIN}.")
    assert isinstance(found, dict)
    return found


def _refuse(folder: Path) -> None:
    """Say what is there instead of the weights. Always raises."""
    found = sorted(path.name for path in folder.glob("*.safetensors"))
    shards = [match for name in found if (match := SHARD.fullmatch(name))]
    if shards:
        want = int(shards[0][3])
        raise ArtifactError(
            f"{folder}: {INDEX} is missing (got {len(shards)} of {want} shards without it). Fetch all of the model."
        )
    if found:
        raise ArtifactError(
            f"{folder}: the weights have another name than {SINGLE} (got {_some(found)}). Rename the file if it is the "
            "whole model in the layout of transformers, or take a revision that has it."
        )
    other = sorted(
        path.name
        for end in ("bin", "pt", "pth", "ckpt", "h5", "msgpack", "gguf", "onnx")
        for path in folder.glob(f"*.{end}")
    )
    raise ArtifactError(
        f"{folder}: no safetensors in it (got {_some(other) or 'no weights'}). Pickled weights can run code when "
        "loaded and are refused, other formats are not read: take a revision with safetensors, or convert them on a "
        "machine you trust (load, then save_pretrained)."
    )


def read_header(path: Path) -> dict[str, Stored]:
    """The tensors of one safetensors file. Raises ArtifactError if it is no such file, or not all of it is there."""
    check_file(path)
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        first = stream.read(1)
        if first not in (b"", b"{"):
            raise ArtifactError(f"{path}: is not a safetensors file (got {first!r} where its header begins). {AGAIN}.")
        raw = first + stream.read(min(length, size))[: max(length - 1, 0)]
    if len(raw) < max(length, 2):
        raise _cut(path, size, f"its header alone needs {8 + length}")
    try:
        entries = json.loads(raw)
        entries.pop("__metadata__", None)
        found = {
            str(name): Stored(entry["dtype"], tuple(entry["shape"]), path, 8 + length + int(entry["data_offsets"][1]))
            for name, entry in entries.items()
        }
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ArtifactError(
            f"{path}: its header is no description of tensors (got {first_line(error)}). {AGAIN}."
        ) from error
    if not found:
        raise ArtifactError(f"{path}: holds no tensor (got 0). {AGAIN}.")
    end = max(tensor.end for tensor in found.values())
    if size < end:
        raise _cut(path, size, f"its tensors need {end}")
    if size > end:
        raise ArtifactError(f"{path}: goes on behind its tensors (got {size} bytes, {end} are used). {AGAIN}.")
    return found


def _cut(path: Path, size: int, why: str) -> ArtifactError:
    return ArtifactError(f"{path}: is cut short (got {size} bytes, {why}). {AGAIN}.")


def stored_tensors(folder: Path) -> dict[str, Stored]:
    """Every tensor of the model by name. Raises ArtifactError as the functions above do, and if a shard does not hold
    what the index says, or two shards hold one name."""
    found: dict[str, Stored] = {}
    for path in weight_files(folder):
        for name, tensor in read_header(path).items():
            if name in found:
                raise ArtifactError(
                    f"{path}: holds a tensor that {found[name].file.name} holds, too (got {name}). {AGAIN}."
                )
            found[name] = tensor
    if (folder / INDEX).exists():
        named = _weight_map(folder / INDEX)
        if more := sorted(found.keys() - named.keys()):
            raise ArtifactError(
                f"{folder / INDEX}: does not name tensors that its shards hold (got none for {_some(more)}). {AGAIN}."
            )
        wrong = [name for name, file in named.items() if name not in found or found[name].file.name != file]
        if wrong:
            raise ArtifactError(
                f"{folder / INDEX}: names tensors that their shards do not hold (got {_some(sorted(wrong))}). {AGAIN}."
            )
        if "metadata" not in read_json(folder / INDEX):  # transformers asks for it
            raise ArtifactError(f'{folder / INDEX}: has no metadata (got weight_map only). Add "metadata": {{}} to it.')
    return found


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
