"""Identity is what a run is: component, version, parameters, inputs. A record holds no clock and no host."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path
from typing import Any

import pytest

from components.contract import identity, load_record, record_path
from components.contract.record import Record, canonical, parse_record
from components.errors import ArtifactError

PARAMS: dict[str, Any] = {"beta": 0.1, "lora": {"rank": 0}}
INPUTS: dict[str, Any] = {"dataset": "a" * 32 + ".dir", "feedback": ["b" * 32, "c" * 32]}


def test_identity_by_hand() -> None:
    text = '{"component":"toy@1","inputs":{"x":"' + "a" * 32 + '"},"params":{"n":1}}'
    assert identity("toy@1", {"n": 1}, {"x": "a" * 32}) == hashlib.md5(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("ref", "params", "inputs"),
    [
        ("toy@2", PARAMS, INPUTS),
        ("other@1", PARAMS, INPUTS),
        ("toy@1", {**PARAMS, "beta": 0.2}, INPUTS),
        ("toy@1", {**PARAMS, "lora": {"rank": 1}}, INPUTS),
        ("toy@1", {**PARAMS, "new": None}, INPUTS),
        ("toy@1", PARAMS, {**INPUTS, "dataset": "d" * 32}),
        ("toy@1", PARAMS, {**INPUTS, "feedback": ["b" * 32]}),
        ("toy@1", PARAMS, {**INPUTS, "feedback": ["b" * 32, "b" * 32]}),
        ("toy@1", PARAMS, {"dataset": INPUTS["dataset"]}),
        ("toy@1", PARAMS, {"policy": INPUTS["dataset"], "feedback": INPUTS["feedback"]}),
    ],
)
def test_identity_changes_with_everything_that_it_is_made_of(ref: str, params: Any, inputs: Any) -> None:
    assert identity(ref, params, inputs) != identity("toy@1", PARAMS, INPUTS)


def test_identity_does_not_depend_on_any_order() -> None:
    shuffled = {"feedback": ["c" * 32, "b" * 32], "dataset": INPUTS["dataset"]}
    assert identity("toy@1", dict(reversed(PARAMS.items())), shuffled) == identity("toy@1", PARAMS, INPUTS)


def test_canonical_json_refuses_what_is_not_json() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical({"x": float("nan")})


def _record(**changes: Any) -> Record:
    fields: dict[str, Any] = {
        "component": "toy@1",
        "identity": "i",
        "params": PARAMS,
        "inputs": INPUTS,
        "outputs": {"out": "o" * 32},
    }
    return Record(**{**fields, **changes})


def test_a_record_reads_back(tmp_path: Path) -> None:
    record = _record(metrics={"n": 1, "name": "héllo"})
    record.write(tmp_path / "out")
    assert record_path(tmp_path / "out") == tmp_path / "out.record.json"
    assert load_record(tmp_path / "out") == record
    assert load_record(tmp_path / "other") is None
    assert platform.node() not in record.to_json()


def test_a_damaged_record_is_bad_data(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"component": "toy@1"}', '{"surprise": 1}'):
        with pytest.raises(ArtifactError, match="not a record"):
            parse_record(text, "here")


def test_a_metric_that_is_not_json_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        _record(metrics={"loss": float("nan")}).to_json()


def test_lineage_holds_every_ancestor_once() -> None:
    grandparent = _record(outputs={"raw": "g" * 32})
    parent = _record(outputs={"data": "p" * 32, "card": "q" * 32}, lineage=grandparent.as_ancestor())
    assert set(parent.as_ancestor()) == {"g" * 32, "p" * 32, "q" * 32}
    assert "metrics" not in parent.as_ancestor()["p" * 32]


def test_outputs_there_means_the_recorded_bytes(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"a")
    record = _record(outputs={"out": "0cc175b9c0f1b6a831c399e269772661"})  # md5("a")
    assert record.outputs_there({"out": tmp_path / "out"})
    (tmp_path / "out").write_bytes(b"b")
    assert not record.outputs_there({"out": tmp_path / "out"})
