"""The environment of everything preflow starts: telemetry off, no surprise network, embedded stores under PREFLOW_HOME.

`prepare()` must run before prefect, mlflow or transformers is imported, because they read these variables then.
"""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

from components.contract.run import home

QUIET = {
    "DO_NOT_TRACK": "true",  # "true", not 1: mlflow accepts nothing else
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",  # the embedded server is ours to start and to stop
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "DVC_NO_ANALYTICS": "1",
    "DVC_STUDIO_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_OFFLINE": "1",  # `preflow run --online` turns it off for a run that names a hub model
    "TOKENIZERS_PARALLELISM": "false",
    "ALEMBIC_LOG_LEVEL": "WARNING",
}


def prepare() -> None:
    """Set what is not set already. A variable that the user has set is never overridden."""
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    os.environ.setdefault("PREFECT_HOME", str(home() / "prefect"))
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{home() / 'mlflow.db'}")


@cache
def git_commit() -> str:
    """The commit of the project folder, with `+dirty` if files differ from it; empty outside git."""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False)
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    if head.returncode != 0:
        return ""
    return head.stdout.strip() + ("+dirty" if changed.stdout.strip() else "")


def data_dir() -> Path:
    """Where real preference data lies, if it does: $PREFLOW_DATA_DIR or ../shared/data."""
    return Path(os.environ.get("PREFLOW_DATA_DIR", "../shared/data"))
