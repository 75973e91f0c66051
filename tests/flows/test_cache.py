"""A hit counts only when the outputs are there with exactly the recorded content."""

from pathlib import Path

import pytest

from components.artifacts import content_id
from components.contract.record import Record, identity, load_record
from components.contract.spec import Spec
from flows.cache import Cache, Miss, explain

SPEC = Spec("toy", "2", "", True, {}, {}, {})


@pytest.fixture
def made(tmp_path: Path) -> tuple[Cache, Record, dict[str, Path]]:
    """A finished output with its record, kept in the cache."""
    output = tmp_path / "work" / "model"
    output.mkdir(parents=True)
    (output / "weights").write_text("1 2 3")
    wanted = identity("toy@2", {"lr": 1.0}, {"data": "a" * 32})
    record = Record("toy@2", wanted, {"lr": 1.0}, {"data": "a" * 32}, {"model": content_id(output)})
    record.write(output)
    cache = Cache(tmp_path)
    cache.keep(record, {"model": output})
    return cache, record, {"model": output}


def test_outputs_in_place_are_a_hit(made) -> None:
    cache, record, paths = made
    assert cache.find(record.identity, paths) == record
    assert cache.restore(record, paths) is None


def test_a_deleted_output_comes_back_from_the_store(made) -> None:
    cache, record, paths = made
    (paths["model"] / "weights").unlink()
    paths["model"].rmdir()
    assert cache.restore(record, paths) is None
    assert content_id(paths["model"]) == record.outputs["model"]
    assert load_record(paths["model"]) == record


def test_a_changed_output_is_put_right(made) -> None:
    cache, record, paths = made
    (paths["model"] / "weights").write_text("4 5 6")
    assert cache.restore(record, paths) is None
    assert (paths["model"] / "weights").read_text() == "1 2 3"


def test_an_output_that_is_nowhere_is_a_miss(made) -> None:
    cache, record, paths = made
    (paths["model"] / "weights").write_text("4 5 6")
    for stored in (cache.store.root / "files").rglob("*"):
        if stored.is_file():
            stored.unlink()
    assert cache.missing(record, paths) == ["model"]
    miss = cache.restore(record, paths)
    assert isinstance(miss, Miss)
    assert "gone" in miss.reason


def test_a_damaged_object_is_a_miss_not_a_hit(made) -> None:
    cache, record, paths = made
    (paths["model"] / "weights").write_text("4 5 6")
    for stored in (cache.store.root / "files").rglob("*"):
        if stored.is_file() and stored.read_text() == "1 2 3":
            stored.write_text("9 9 9")
    miss = cache.restore(record, paths)
    assert isinstance(miss, Miss)
    assert "damaged" in miss.reason


def test_another_run_in_the_same_place_does_not_lose_the_first(made) -> None:
    cache, record, paths = made
    (paths["model"] / "weights").write_text("other")
    other = Record("toy@2", "0" * 32, {"lr": 2.0}, {}, {"model": content_id(paths["model"])})
    other.write(paths["model"])
    cache.keep(other, paths)
    found = cache.find(record.identity, paths)
    assert found == record
    assert cache.restore(record, paths) is None
    assert (paths["model"] / "weights").read_text() == "1 2 3"


def test_the_store_is_dvcs_cache_inside_a_dvc_repository(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    assert Cache(tmp_path).store.root == tmp_path / ".dvc" / "cache"
    (tmp_path / ".dvc" / "config").write_text("[cache]\n    dir = ../elsewhere\n")
    assert Cache(tmp_path).store.root == (tmp_path / "elsewhere").resolve()


@pytest.mark.parametrize(
    ("spec", "params", "inputs", "why"),
    [
        (Spec("toy", "3", "", True, {}, {}, {}), {"lr": 1.0}, {"data": "a" * 32}, "component is now toy@3 (was toy@2)"),
        (SPEC, {"lr": 2.0}, {"data": "a" * 32}, "changed: lr 1.0 -> 2.0"),
        (SPEC, {"lr": 1.0, "deep": {"x": 1}}, {"data": "a" * 32}, "changed: deep None -> {'x': 1}"),
        (SPEC, {"lr": 1.0}, {"data": "b" * 32}, "new input: data"),
        (SPEC, {"lr": 1.0}, {}, "new input: data"),
    ],
)
def test_why_a_step_runs_is_said_in_words(made, spec: Spec, params, inputs, why: str) -> None:
    assert explain(spec, params, inputs, made[2]) == why


def test_never_run_is_said(tmp_path: Path) -> None:
    assert explain(SPEC, {}, {}, {"model": tmp_path / "nothing"}) == "never run here"
