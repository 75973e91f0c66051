"""Log one policy as an MLflow run. Every step may be repeated, so a run that a crash left half done is finished."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from components.artifacts import content_id
from components.errors import ArtifactError, UserError
from components.registry.connection import Connection, facts
from components.registry.version import IDENTITY

POLICY = "policy"  # the artifact folder that holds the model; the other files lie beside it
STATE = "preflow.state"  # uploading | complete
MAX_PARAM, MAX_TAG = 6000, 5000  # characters; MLflow's own limits
T = TypeVar("T")


@dataclass(frozen=True)
class Upload:
    """What a run holds. `history` is the training curve: metric -> [(step, value)]; `datasets`: (name, content id);
    `files`: artifact path -> text, or a file to copy."""

    name: str
    policy: Path
    identity: str
    content_id: str
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    history: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    datasets: Sequence[tuple[str, str]] = ()
    files: Mapping[str, Path | str] = field(default_factory=dict)

    def check(self) -> None:
        """Raise UserError for what MLflow could not keep whole."""
        for key, text in self.tags.items():
            if len(text) > MAX_TAG:
                raise UserError(f"tag {key}: at most {MAX_TAG} characters (got {len(text)}). Put it in a file.")
        for name, digest in self.datasets:
            if len(digest) > 36:
                raise UserError(f"data set {name}: a digest has at most 36 characters (got {digest}). Use the DVC id.")
        for names in (self.tags, self.params, self.metrics, self.history):
            if len({_key(name) for name in names}) < len(names):
                raise UserError(
                    f"{self.name}: two of these names are one name to MLflow (got {sorted(names)}). Rename."
                )


def open_run(client: Connection, upload: Upload) -> str:
    """The id of the run for this identity: the one a crash left, or a new one."""
    experiment = client.experiment(upload.name)
    left = client.search_runs([experiment], f"tags.`{IDENTITY}` = '{upload.identity}'", max_results=1)
    if left:
        run_id = str(left[0].info.run_id)
        client.update_run(run_id, status="RUNNING")
        return run_id
    tags = {
        IDENTITY: upload.identity,
        STATE: "uploading",
        "mlflow.source.name": "preflow",
        "mlflow.source.type": "JOB",
        **facts(),
    }
    return str(client.create_run(experiment, tags=tags, run_name=f"{upload.name}-{upload.identity[:8]}").info.run_id)


def log(client: Connection, run_id: str, upload: Upload) -> None:
    """Send everything. Metrics carry the start time of the run, so that a repeated row is the same row."""
    from mlflow.entities import Metric, Param, RunTag

    time = client.get_run(run_id).info.start_time
    metrics = [Metric(_key(key), float(value), time, 0) for key, value in upload.metrics.items()]
    for key, points in upload.history.items():
        metrics += [Metric(_key(f"train/{key}"), float(value), time, step) for step, value in points]
    params = [Param(_key(key), _param(value)) for key, value in upload.params.items()]
    tags = [RunTag(_key(key), text) for key, text in upload.tags.items()]
    for rows in _batches(metrics, 1000):
        client.log_batch(run_id, metrics=rows)
    for fields in _batches(params, 100):
        client.log_batch(run_id, params=fields)
    for labels in _batches(tags, 100):
        client.log_batch(run_id, tags=labels)
    _log_datasets(client, run_id, upload.datasets)
    _log_files(client, run_id, upload.files)
    client.log_artifacts(run_id, str(upload.policy), POLICY)


def _log_datasets(client: Connection, run_id: str, datasets: Sequence[tuple[str, str]]) -> None:
    """Data set inputs by their DVC id. What `MetaDataset` would log, made of the entities that mlflow-skinny has."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    inputs = [
        DatasetInput(
            Dataset(name, digest, source_type="code", source=json.dumps({"tags": {"content_id": digest}})),
            [InputTag("mlflow.data.context", "lineage")],
        )
        for name, digest in datasets
    ]
    if inputs:
        client.log_inputs(run_id, datasets=inputs)


def _log_files(client: Connection, run_id: str, files: Mapping[str, Path | str]) -> None:
    if not files:
        return
    with tempfile.TemporaryDirectory(prefix="preflow-registry-") as folder:
        for name, content in files.items():
            place = Path(folder, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, place)
            else:
                place.write_text(content, encoding="utf-8")
        client.log_artifacts(run_id, folder)


def fetch(client: Connection, run_id: str, path: str, into: Path) -> Path:
    """Download one artifact (file or folder) of a run into the folder `into`; returns where it lies."""
    into.mkdir(parents=True, exist_ok=True)
    return Path(client.download_artifacts(run_id, path, str(into)))


def read_text(client: Connection, run_id: str, path: str) -> str | None:
    """A small text artifact, or None if the run has none of that name."""
    folder = path.rpartition("/")[0]
    if path not in {item.path for item in client.list_artifacts(run_id, folder or None)}:
        return None
    with tempfile.TemporaryDirectory(prefix="preflow-registry-") as place, _no_progress_bar():
        return fetch(client, run_id, path, Path(place)).read_text(encoding="utf-8")


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """A bar for one small file is noise."""
    name = "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        os.environ.pop(name) if before is None else os.environ.update({name: before})


def expect(path: Path, wanted: str, where: str) -> None:
    """Raise ArtifactError unless the content of `path` is `wanted`."""
    if (found := content_id(path)) != wanted:
        raise ArtifactError(
            f"{where}: the artifact store returned other bytes than were stored (expected {wanted}, got {found}). "
            "Check the store, then register again."
        )


def _key(key: str) -> str:
    """MLflow's alphabet for names; `win_rate@5` becomes `win_rate_5`."""
    return re.sub(r"[^\w.\-/ ]", "_", key)


def _param(value: Any) -> str:
    text = str(value)
    return text if len(text) <= MAX_PARAM else f"({len(text)} characters: see record.json)"


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
