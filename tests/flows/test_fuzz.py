"""Whatever a file of others holds, it is read, or refused by an error that says what is wrong: nothing else comes up.

Every reader of foreign JSON, YAML and Parquet gets mutations of good files, seeded, so that a failure comes again.
"""

from __future__ import annotations

import gzip
import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from components.contract import Input
from components.contract.params import Choice
from components.errors import PreflowError
from components.human_feedback.params import Params
from components.records import flags, read_records, write_parquet
from components.records.importers import IMPORTERS, Options
from components.records.importers.whole import read_whole
from components.records.samples import read_origin, read_samples
from components.records.scores import read_sample_scores
from flows import profile
from flows.inbox import describe
from flows.kubernetes.cluster import load_cluster
from flows.settings import load_settings
from tests.components.records.importer_cases import GOOD
from tests.components.records.importing import import_file
from tests.components.records.samples import pair
from tests.fuzzing import json_line, mutated_bytes, mutated_value

ROOT = Path(__file__).parents[2]
Case = Callable[[random.Random, Path], Callable[[], Any]]
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


def _jsonl(rng: random.Random) -> tuple[str, bytes]:
    name = rng.choice(sorted(GOOD))
    rows = GOOD[name]
    if rng.random() < 0.6:
        return name, b"".join(json_line(mutated_value(rng, row)) for row in rows)
    return name, mutated_bytes(rng, b"".join(map(json_line, rows)))


def _imported(path: Path, format: Choice) -> Callable[[], Any]:
    def read() -> None:
        for row in import_file(path, format):
            if isinstance(row, dict):
                flags(row)
        describe(read_whole(path, path.name, format, Options(), Params().limits))

    return read


def _format(rng: random.Random, name: str) -> Choice:
    return Choice("auto") if rng.random() < 0.5 else IMPORTERS.choose("format", {"name": name})


@case
def feedback_lines(rng: random.Random, folder: Path) -> Callable[[], Any]:
    name, data = _jsonl(rng)
    path = folder / "x.jsonl"
    path.write_bytes(data)
    return _imported(path, _format(rng, name))


@case
def feedback_packed(rng: random.Random, folder: Path) -> Callable[[], Any]:
    name, data = _jsonl(rng)
    packed = gzip.compress(data, 1, mtime=0)
    path = folder / "x.jsonl.gz"
    path.write_bytes(packed if rng.random() < 0.3 else mutated_bytes(rng, packed))
    return _imported(path, _format(rng, name))


@case
def feedback_table(rng: random.Random, folder: Path) -> Callable[[], Any]:
    name = rng.choice(sorted(GOOD))
    rows = [mutated_value(rng, row) if rng.random() < 0.5 else row for row in GOOD[name]]
    out = io.BytesIO()
    try:
        pq.write_table(pa.Table.from_pylist(rows), out)
    except (pa.ArrowException, ValueError, OverflowError, TypeError):  # no table can hold these
        pq.write_table(pa.Table.from_pylist(GOOD["labels"]), out)
    path = folder / "x.parquet"
    path.write_bytes(out.getvalue() if rng.random() < 0.3 else mutated_bytes(rng, out.getvalue()))
    return _imported(path, _format(rng, name))


@case
def record_table(rng: random.Random, folder: Path) -> Callable[[], Any]:
    path = folder / "r.parquet"
    write_parquet(path, [pair(), pair("tie")])
    path.write_bytes(mutated_bytes(rng, path.read_bytes()))
    return lambda: list(read_records(path))


SAMPLE: dict[str, Any] = {"prompt_key": "k", "messages": [{"role": "user", "content": "Hi"}], "sample": 0}
SAMPLE |= {"completion": "x", "token_ids": [1, 2], "logprobs": [-0.5, -1.0], "finish": "eos", "seed": 0}


@case
def samples(rng: random.Random, folder: Path) -> Callable[[], Any]:
    data = json_line(SAMPLE)
    data = mutated_bytes(rng, data) if rng.random() < 0.5 else json_line(mutated_value(rng, SAMPLE))
    (folder / "samples.jsonl").write_bytes(data)
    return lambda: read_samples(folder)


@case
def summaries(rng: random.Random, folder: Path) -> Callable[[], Any]:
    good = {"policy": "p", "sampler": {"top_p": 1.0}, "witness": {"kind": "x", "name": "y", "id": "z"}}
    data = json_line(good)
    data = mutated_bytes(rng, data) if rng.random() < 0.5 else json_line(mutated_value(rng, good))
    (folder / "summary.json").write_bytes(data)
    row = {"of": "sample", "samples": "id", "prompt_key": "k", "sample": 0, "score": 0.5}
    (folder / "scores.jsonl").write_bytes(json_line(mutated_value(rng, row)))
    item = Input("x", "x", folder, "id")
    return rng.choice((lambda: read_origin(item), lambda: read_sample_scores(item, "id")))


def _yaml(rng: random.Random, good: bytes) -> bytes:
    if rng.random() < 0.5:
        return mutated_bytes(rng, good)
    value = mutated_value(rng, yaml.safe_load(good))
    return yaml.safe_dump(value, allow_unicode=True).encode("utf-8", errors="surrogatepass")


@case
def params_file(rng: random.Random, folder: Path) -> Callable[[], Any]:
    (folder / "params.yaml").write_bytes(_yaml(rng, (ROOT / "params.yaml").read_bytes()))
    return lambda: load_settings("align")


@case
def profile_file(rng: random.Random, folder: Path) -> Callable[[], Any]:
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    chosen = rng.choice(sorted((ROOT / "flows/profiles").glob("*.yaml")))
    (folder / "profiles").mkdir(exist_ok=True)
    (folder / "profiles" / "own.yaml").write_bytes(_yaml(rng, chosen.read_bytes()))
    return lambda: load_settings("align", "own")


@case
def cluster_file(rng: random.Random, folder: Path) -> Callable[[], Any]:
    chosen = rng.choice(sorted((ROOT / "k8s/profiles").glob("*.yaml")))
    (folder / "k8s/profiles").mkdir(parents=True, exist_ok=True)
    (folder / "k8s/profiles/own.yaml").write_bytes(_yaml(rng, chosen.read_bytes()))
    return lambda: load_cluster("own", folder)


@case
def overrides(rng: random.Random, folder: Path) -> Callable[[], Any]:
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    sections = yaml.safe_load((ROOT / "params.yaml").read_bytes())
    section = rng.choice(sorted(sections))
    key = rng.choice(sorted(sections[section]))
    value = rng.choice(
        ("1", "1e999", "[1", "{a: [b]}", "*x", "!!bool x", "9" * 5000, "[" * 3000, "null", "{name: [1]}")
    )
    text = f"{section}.{key}={value}"
    if rng.random() < 0.5:
        text = mutated_bytes(rng, text.encode()).decode("utf-8", errors="surrogateescape")
    return lambda: load_settings("align", overrides=(text,))


def trial(name: str, seed: int, folder: Path, at: pytest.MonkeyPatch) -> str:
    """ "" if the reader read or refused the file; else the error that has no name."""
    folder.mkdir()
    at.chdir(folder)
    at.setattr(profile, "PROFILES", folder / "profiles")
    run = CASES[name](random.Random(seed), folder)
    try:
        run()
    except PreflowError:
        return ""
    except Exception as error:  # noqa: BLE001  (it is what is looked for)
        return f"{name} {seed}: {type(error).__name__}: {error}"[:300]
    return ""


def campaign(name: str, seeds: range, tmp_path: Path, at: pytest.MonkeyPatch) -> list[str]:
    found = [trial(name, seed, tmp_path / str(seed), at) for seed in seeds]
    return [line for line in found if line]


@pytest.mark.parametrize("name", CASES)
def test_nothing_unnamed_comes_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert campaign(name, range(20), tmp_path, monkeypatch) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_nothing_unnamed_comes_up_in_thousands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert campaign(name, range(1000, 3500), tmp_path, monkeypatch) == []
