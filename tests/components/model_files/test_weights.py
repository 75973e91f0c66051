"""Headers tell which tensors a folder holds, in which file, and where each file ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from components.errors import ArtifactError
from components.model_files.weights import check_file, read_header, read_json, stored_tensors, weight_files


def save(folder: Path, name: str = "model.safetensors", **tensors: torch.Tensor) -> Path:
    save_file(tensors, folder / name)
    return folder / name


def index(folder: Path, **held: str) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": held}))


def test_a_header_says_type_shape_and_end(tmp_path: Path) -> None:
    """a: 2 x 3 values of 4 bytes, b: 5 values of 2 bytes; the last one ends where the file does."""
    path = save(tmp_path, a=torch.zeros(2, 3), b=torch.zeros(5, dtype=torch.bfloat16))
    found = read_header(path)
    assert {name: (tensor.dtype, tensor.shape) for name, tensor in found.items()} == {
        "a": ("F32", (2, 3)),
        "b": ("BF16", (5,)),
    }
    assert max(tensor.end for tensor in found.values()) == path.stat().st_size


def test_bytes_too_few_and_too_many_are_told(tmp_path: Path) -> None:
    path = save(tmp_path, a=torch.zeros(8))
    whole = path.read_bytes()
    for cut in (3, 8, 20, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ArtifactError, match=rf"is cut short \(got {cut} bytes"):
            read_header(path)
    path.write_bytes(whole + b"x")
    with pytest.raises(ArtifactError, match=rf"goes on behind its tensors \(got {len(whole) + 1} bytes"):
        read_header(path)


@pytest.mark.parametrize("header", [b"{}", b'{"a": 1}', b'{"a": {"dtype": "F32"}}', b"{nonsense}"])
def test_a_header_of_nothing_is_told(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ArtifactError, match=r"holds no tensor|its header is no description of tensors"):
        read_header(path)


def test_one_file_or_the_shards_of_an_index(tmp_path: Path) -> None:
    save(tmp_path, "a.safetensors", a=torch.zeros(2))
    save(tmp_path, "b.safetensors", b=torch.zeros(2))
    index(tmp_path, a="a.safetensors", b="b.safetensors")
    assert [path.name for path in weight_files(tmp_path)] == ["a.safetensors", "b.safetensors"]
    assert sorted(stored_tensors(tmp_path)) == ["a", "b"]
    (tmp_path / "model.safetensors.index.json").unlink()
    save(tmp_path, c=torch.zeros(2))
    assert [path.name for path in weight_files(tmp_path)] == ["model.safetensors"]
    index(tmp_path, c="model.safetensors")  # an index of the one file
    assert sorted(stored_tensors(tmp_path)) == ["c"]


def test_one_name_in_two_shards_is_refused(tmp_path: Path) -> None:
    save(tmp_path, "a.safetensors", a=torch.zeros(2))
    save(tmp_path, "b.safetensors", a=torch.zeros(2))
    index(tmp_path, a="a.safetensors", b="b.safetensors")
    with pytest.raises(ArtifactError, match=r"b.safetensors: holds a tensor that a.safetensors holds, too \(got a\)"):
        stored_tensors(tmp_path)


@pytest.mark.parametrize("held", ["../other/a.safetensors", "/etc/passwd"])
def test_an_index_stays_within_its_folder(tmp_path: Path, held: str) -> None:
    index(tmp_path, a=held)
    with pytest.raises(ArtifactError, match="weight_map must name files of this folder"):
        weight_files(tmp_path)


def test_an_index_without_a_map_is_told(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ArtifactError, match="weight_map must name files"):
        weight_files(tmp_path)


def test_an_index_names_all_tensors_and_has_metadata(tmp_path: Path) -> None:
    """transformers ends in a KeyError without metadata, and would leave out or take what the index does not name."""
    save(tmp_path, "a.safetensors", a=torch.zeros(2), more=torch.zeros(2))
    index(tmp_path, a="a.safetensors")
    with pytest.raises(ArtifactError, match=r"does not name tensors that its shards hold \(got none for more\)"):
        stored_tensors(tmp_path)
    whole = '{"weight_map": {"a": "a.safetensors", "more": "a.safetensors"}}'
    (tmp_path / "model.safetensors.index.json").write_text(whole)
    with pytest.raises(ArtifactError, match=r'index.json: has no metadata \(got weight_map only\). Add "metadata": {}'):
        stored_tensors(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_told(tmp_path: Path, encoding: str) -> None:
    """Python reads it; transformers does not, and says that the file is no JSON."""
    (tmp_path / "config.json").write_text("{}", encoding=encoding)
    with pytest.raises(ArtifactError, match=r"config.json: begins with a byte order mark .*UTF-8 without one"):
        read_json(tmp_path / "config.json")


def test_a_link_to_a_file_is_a_file(tmp_path: Path) -> None:
    """As in the cache of the hub."""
    path = save(tmp_path, "blob", a=torch.zeros(2))
    (tmp_path / "model.safetensors").symlink_to(path)
    check_file(tmp_path / "model.safetensors")
    assert sorted(stored_tensors(tmp_path)) == ["a"]
