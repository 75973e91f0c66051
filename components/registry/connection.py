"""How preflow talks to MLflow: which server, with telemetry off, and with errors a person can act on."""

from __future__ import annotations

import logging
import os
import platform
import subprocess
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from components.contract.run import home
from components.errors import PreflowError, UserError
from components.locks import file_lock

_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # MLflow's own default waits minutes for a server that is not there
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_TRUNCATE_LONG_VALUES": "false",  # nothing is cut in silence
}


def default_uri() -> str:
    """$MLFLOW_TRACKING_URI, or the embedded database under the preflow home."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home() / 'mlflow.db'}"


def safe(uri: str) -> str:
    """The URI without user and password, for messages."""
    return _without_user(uri, uri)


def _without_user(text: str, uri: str) -> str:
    user = urlsplit(uri).netloc.rpartition("@")[0]
    return text.replace(f"{user}@", "") if user else text


def database(uri: str) -> Path | None:
    """The file of a `sqlite:///` URI; None for a server. Raises UserError for anything else."""
    if uri.startswith("sqlite:///"):
        return Path(uri.removeprefix("sqlite:///")).absolute()
    if uri.startswith(("http://", "https://")):
        return None
    raise UserError(
        f"MLFLOW_TRACKING_URI: must be http(s)://... or sqlite:///FILE (got {safe(uri)!r}). Point it at an MLflow "
        "server, or unset it to use the embedded one."
    )


class Connection:
    """An `MlflowClient` whose failures are PreflowErrors. Every call is one that mlflow-skinny has, too."""

    def __init__(self, uri: str) -> None:
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        self.uri, self._file = uri, database(uri)
        from mlflow.tracking import MlflowClient

        connect = _translate(MlflowClient, uri)
        if self._file is None:
            self._client: Any = connect(tracking_uri=uri, registry_uri=uri)
            return
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        with file_lock(self._file.with_name(self._file.name + ".lock")):  # two at once would both make the tables
            self._client = connect(tracking_uri=uri, registry_uri=uri)
            self.search_registered_models(max_results=1)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return _translate(getattr(self._client, name), self.uri)

    def experiment(self, name: str) -> str:
        """The id of the experiment `name`, made if it is not there.

        With a local database the artifacts go to `mlartifacts/` beside it; a server decides that itself.
        """
        found = self.get_experiment_by_name(name)
        if found is None:
            place = None if self._file is None else (self._file.parent / "mlartifacts" / name).as_uri()
            try:
                return str(self.create_experiment(name, artifact_location=place))
            except PreflowError:
                found = self.get_experiment_by_name(name)  # another client was faster
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            raise UserError(
                f"MLflow experiment {name!r}: was deleted. Restore it (`mlflow experiments restore -x "
                f"{found.experiment_id}`), or choose another model name."
            )
        return str(found.experiment_id)


def _translate(call: Callable[..., Any], uri: str) -> Callable[..., Any]:
    """`call`, raising PreflowError (a retry may help) or UserError (it will not)."""

    @wraps(call)
    def translated(*args: Any, **kwargs: Any) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return call(*args, **kwargs)
        except MlflowException as error:
            what = f"MLflow at {safe(uri)}: {_one_line(error, uri)}"
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "PERMISSION_DENIED"):
                raise UserError(f"{what} Check the name and the server.") from error
            raise PreflowError(f"{what} Check that the server runs, then try again.") from error
        except OSError as error:  # includes the HTTP errors of artifact transfers
            what = f"MLflow at {safe(uri)}: {_one_line(error, uri)}"
            raise PreflowError(f"{what} Check the server and its disk.") from error

    return translated


def _one_line(error: Exception, uri: str) -> str:
    text = _without_user(" ".join(str(error).split()), uri)
    return f"{text[:497]}..." if len(text) > 500 else f"{text.rstrip('.')}."


def facts() -> dict[str, str]:
    """What is true of this run only: commit, image, host. MLflow adds the times."""
    commit = os.environ.get("PREFLOW_GIT_COMMIT", "") or _git_commit()
    values = {
        "mlflow.source.git.commit": commit,
        "git.commit": commit,
        "preflow.image": os.environ.get("PREFLOW_IMAGE", ""),
        "preflow.host": platform.node(),
        "preflow.python": platform.python_version(),
    }
    return {key: value for key, value in values.items() if value}


def _git_commit() -> str:
    try:
        asked = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""  # no git here: the tag is left out
    return asked.stdout.strip() if asked.returncode == 0 else ""
