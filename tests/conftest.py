"""What every test stands on, set before anything is imported: no network, no telemetry, one thread, own homes."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Each pytest (xdist) process has its own folder: two Prefect servers that create one database at once collide.
_WORKER = Path(tempfile.mkdtemp(prefix="preflow-tests-"))
atexit.register(shutil.rmtree, _WORKER, ignore_errors=True)

os.environ.update(
    PREFLOW_HOME=str(_WORKER / "home"),
    PREFECT_HOME=str(_WORKER / "prefect"),
    MLFLOW_TRACKING_URI=f"sqlite:///{_WORKER / 'mlflow.db'}",
    HF_HOME=str(_WORKER / "hf"),
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    TOKENIZERS_PARALLELISM="false",
    DO_NOT_TRACK="true",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="120",
    MLFLOW_DISABLE_TELEMETRY="true",
    DVC_NO_ANALYTICS="1",
    DVC_STUDIO_OFFLINE="1",
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    CUBLAS_WORKSPACE_CONFIG=":4096:8",
)
for _name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFLOW_PARENT_PID", "RANK", "WORLD_SIZE", "LOCAL_RANK"):
    os.environ.pop(_name, None)


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A fresh PREFLOW_HOME per test; environment and torch's thread count are put back afterwards."""
    before = dict(os.environ)
    os.environ["PREFLOW_HOME"] = str(tmp_path_factory.mktemp("home"))
    yield
    os.environ.clear()
    os.environ.update(before)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real preference data; tests that need it skip where it is absent."""
    path = Path(os.environ.get("PREFLOW_DATA_DIR", Path(__file__).parents[1] / "../shared/data")).resolve()
    if not path.is_dir():
        pytest.skip(f"no preference data at {path} (set PREFLOW_DATA_DIR)")
    return path


@pytest.fixture(scope="session")
def cases_dir(data_dir: Path) -> Path:
    """The folder of inputs that went wrong elsewhere, beside that of real data; tests that need it skip without it."""
    path = data_dir.parent / "cases"
    if not path.is_dir():
        pytest.skip(f"no cases at {path} (a folder beside PREFLOW_DATA_DIR)")
    return path


LONGEST = ("tests/flows/test_align.py",)  # begin with what takes longest, so that no worker ends alone


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """GPU tests skip where there is no accelerator, and say so."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))
    gpu = [item for item in items if item.get_closest_marker("gpu")]
    if not gpu:
        return
    import torch

    if not torch.cuda.is_available():
        for item in gpu:
            item.add_marker(pytest.mark.skip(reason="no accelerator on this machine"))
