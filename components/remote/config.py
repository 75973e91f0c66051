"""Where the remote is: $PREFLOW_REMOTE, or DVC's default remote, read from its configuration without importing DVC."""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.errors import UserError

_REMEDY = "Set PREFLOW_REMOTE=s3://bucket/path, or run: dvc remote add --default NAME URL"
_PATHS = ("credentialpath", "configpath")
_VARIABLES = {"credentialpath": "AWS_SHARED_CREDENTIALS_FILE", "configpath": "AWS_CONFIG_FILE"}

# DVC's name of a setting -> fsspec's option; a dot means within a mapping.
_S3 = {
    "access_key_id": "key",
    "secret_access_key": "secret",
    "session_token": "token",
    "profile": "profile",
    "use_ssl": "use_ssl",
    "allow_anonymous_login": "anon",
    "region": "client_kwargs.region_name",
    "endpointurl": "client_kwargs.endpoint_url",
    "ssl_verify": "client_kwargs.verify",
    "read_timeout": "config_kwargs.read_timeout",
    "connect_timeout": "config_kwargs.connect_timeout",
    "sse": "s3_additional_kwargs.ServerSideEncryption",
    "sse_kms_key_id": "s3_additional_kwargs.SSEKMSKeyId",
    "acl": "s3_additional_kwargs.ACL",
}
_GS = {"projectname": "project", "credentialpath": "token", "endpointurl": "endpoint_url"}
_AZURE = {
    name: name
    for name in (
        "connection_string",
        "account_name",
        "account_key",
        "sas_token",
        "tenant_id",
        "client_id",
        "client_secret",
    )
}


def settings(project: Path) -> tuple[str, dict[str, Any]]:
    """URL of the remote and options of its file system. Raises UserError where there is none.

    With $PREFLOW_REMOTE credentials come from the environment only, by the names that the cloud's own tools read.
    """
    if url := os.environ.get("PREFLOW_REMOTE"):
        return url, options(url, {})
    folder = project / ".dvc"
    parsed = configparser.ConfigParser(interpolation=None, strict=False)
    parsed.read([folder / "config", folder / "config.local"], encoding="utf-8")
    sections = {name.strip("'"): dict(parsed[name]) for name in parsed.sections()}
    name = _text(sections.get("core", {}).get("remote", ""))
    if not name:
        raise UserError(f"remote: none is configured in {folder}. {_REMEDY}.")
    values = {key: _text(value) for key, value in sections.get(f'remote "{name}"', {}).items()}
    if "url" not in values:
        raise UserError(f"remote {name}: it has no url in {folder}. {_REMEDY}.")
    for key in ("version_aware", "worktree"):
        if _flag(values.get(key, "false")):
            raise UserError(f"remote {name}: {key} keeps files by name, not by content id. Use a remote without {key}.")
    for key in _PATHS:
        if key in values:
            values[key] = str((folder / Path(values[key]).expanduser()).resolve())
    url = values["url"]
    if "://" not in url:
        url = str((folder / Path(url).expanduser()).resolve())
    return url, options(url, values)


def options(url: str, values: Mapping[str, str]) -> dict[str, Any]:
    """fsspec's options for DVC's settings of a remote."""
    scheme = url.partition("://")[0] if "://" in url else ""
    anonymous = _flag(values.get("allow_anonymous_login", "false"))
    if scheme == "s3":
        for key, variable in _VARIABLES.items():
            if key in values:
                os.environ.setdefault(variable, values[key])
        return _nested(_S3, values)
    if scheme in ("gs", "gcs"):
        found = _nested(_GS, values)
        return {**found, "token": "anon"} if anonymous else found
    if scheme in ("azure", "az", "abfs"):
        return {**_nested(_AZURE, values), "anon": anonymous}  # adlfs alone would try without credentials first
    return {}


def _nested(names: Mapping[str, str], values: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, option in names.items():
        if name not in values:
            continue
        group, _, key = option.rpartition(".")
        place = found.setdefault(group, {}) if group else found
        place[key] = _value(name, values[name])
    return found


def _value(name: str, text: str) -> Any:
    if name in ("use_ssl", "allow_anonymous_login") or (name == "ssl_verify" and text.lower() in ("true", "false")):
        return _flag(text)
    return float(text) if name.endswith("_timeout") else text


def _flag(text: str) -> bool:
    return text.lower() == "true"


def _text(value: str) -> str:
    """DVC quotes values that hold special characters."""
    value = value.strip()
    return value[1:-1] if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"" else value
