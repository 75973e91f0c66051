"""Where the remote is, how DVC's settings become fsspec's, and what is never shown."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from components.errors import PreflowError, UserError
from components.remote import Remote
from components.remote.config import settings
from components.remote.transport import Transport, shown


@pytest.fixture(autouse=True)
def _no_remote(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFLOW_REMOTE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)


def _project(tmp_path: Path, config: str, local: str = "") -> Path:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(config)
    if local:
        (tmp_path / ".dvc" / "config.local").write_text(local)
    return tmp_path


def test_the_project_s_default_remote_with_secrets_of_the_local_file(tmp_path: Path) -> None:
    config = """
[core]
    remote = other
['remote "other"']
    url = s3://elsewhere
['remote "main"']
    url = s3://bucket/path%20x
    endpointurl = http://minio:9000
    region = eu-central-1
    use_ssl = false
    ssl_verify = false
    read_timeout = 30
    sse = aws:kms
"""
    local = """
[core]
    remote = main
['remote "main"']
    access_key_id = AKIA1
    secret_access_key = "s3cr3t #1"
"""
    assert settings(_project(tmp_path, config, local)) == (
        "s3://bucket/path%20x",
        {
            "key": "AKIA1",
            "secret": "s3cr3t #1",
            "use_ssl": False,
            "client_kwargs": {
                "region_name": "eu-central-1",
                "endpoint_url": "http://minio:9000",
                "verify": False,
            },
            "config_kwargs": {"read_timeout": 30.0},
            "s3_additional_kwargs": {"ServerSideEncryption": "aws:kms"},
        },
    )


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["url = gs://b/p", "projectname = p", "credentialpath = key.json"], {"project": "p", "token": "DVC/key.json"}),
        (["url = gs://b/p", "allow_anonymous_login = true"], {"token": "anon"}),
        (["url = s3://b", "profile = me", "allow_anonymous_login = True"], {"profile": "me", "anon": True}),
        (["url = azure://c/p", "account_name = a"], {"account_name": "a", "anon": False}),
        (
            ["url = azure://c/p", "connection_string = 'A=b;C=d=='"],
            {"connection_string": "A=b;C=d==", "anon": False},
        ),
        (["url = ../store"], {}),
    ],
)
def test_settings_of_every_cloud(tmp_path: Path, lines: list[str], expected: dict[str, Any]) -> None:
    project = _project(tmp_path, "[core]\nremote = r\n['remote \"r\"']\n" + "\n".join(lines))
    url, options = settings(project)
    options = {k: v.replace(str(tmp_path / ".dvc"), "DVC") if isinstance(v, str) else v for k, v in options.items()}
    assert options == expected
    assert url == (str(tmp_path / "store") if "store" in lines[0] else lines[0].removeprefix("url = "))


def test_files_of_credentials_are_named_to_the_client(tmp_path: Path) -> None:
    settings(_project(tmp_path, "[core]\nremote = r\n['remote \"r\"']\nurl = s3://b\ncredentialpath = keys"))
    assert os.environ["AWS_SHARED_CREDENTIALS_FILE"] == str(tmp_path / ".dvc" / "keys")


def test_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = _project(tmp_path, "[core]\nremote = r\n['remote \"r\"']\nurl = s3://b\naccess_key_id = AKIA1")
    monkeypatch.setenv("PREFLOW_REMOTE", "s3://other/path/")
    assert settings(project) == ("s3://other/path/", {})
    assert Remote.configured(project).url == "s3://other/path"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("", r"none is configured in .* Set PREFLOW_REMOTE=.*dvc remote add"),
        ("[core]\nremote = r", "remote r: it has no url"),
        (
            "[core]\nremote = r\n['remote \"r\"']\nurl = s3://b\nversion_aware = true",
            "version_aware keeps files by name",
        ),
    ],
)
def test_settings_that_cannot_be_used_say_what_to_do(tmp_path: Path, config: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Remote.configured(_project(tmp_path, config))


def test_urls_that_cannot_be_used() -> None:
    with pytest.raises(UserError, match=r"remote ssh://host/x: cannot be used \(got ssh://\)"):
        Remote("ssh://me@host/x")
    with pytest.raises(UserError, match=r"remote s3://bucket: a URL must not hold credentials\. Give them") as caught:
        Remote("s3://AKIA1:hush@bucket")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "module", "extra"), [("s3://b", "s3fs", "s3"), ("gs://b", "gcsfs", "gs"), ("azure://c/p", "adlfs", "azure")]
)
def test_a_driver_that_is_not_installed(url: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.registry import _registry

    monkeypatch.setitem(sys.modules, module, None)
    for name in ("s3", "gs", "az"):
        monkeypatch.delitem(_registry, name, raising=False)
    with pytest.raises(UserError, match=rf"its driver cannot be loaded .* pip install 'preflow\[{extra}\]'"):
        Remote(url).record("1" * 32)


SECRET = "hush-hush-hush"


class Broken:
    """A file system that fails as client libraries do, with everything they know in the message."""

    def __init__(self, error: type[Exception]) -> None:
        self.error, self.calls = error, 0

    def cat_file(self, path: str, **more: Any) -> bytes:
        self.calls += 1
        raise self.error(f"no answer: key={SECRET} env=e-n-v-secret http://me:{SECRET}@host/x")


@pytest.mark.parametrize(
    ("error", "kind", "calls"),
    [(ConnectionResetError, PreflowError, 3), (TimeoutError, PreflowError, 3), (PermissionError, UserError, 1)],
)
def test_secrets_are_in_no_message(
    error: type[Exception], kind: type[PreflowError], calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "e-n-v-secret")
    monkeypatch.setattr("components.remote.transport.PAUSE", 0.0)
    remote = Remote("s3://bucket/x", {"secret": SECRET, "client_kwargs": {"endpoint_url": f"http://me:{SECRET}@host"}})
    broken = Broken(error)
    remote._at.__dict__["_fs"] = broken
    with pytest.raises(kind) as caught:
        remote.record("1" * 32)
    assert type(caught.value) is kind
    assert broken.calls == calls
    assert caught.value.__suppress_context__, "a traceback would show the original"
    for text in (str(caught.value), repr(remote), repr(remote._at), remote.url):
        assert not any(word in text for word in (SECRET, "e-n-v-secret", "me:"))
    assert "s3://bucket/x: reading preflow/records/" in str(caught.value)


def test_mistakes_of_the_program_are_not_taken_for_a_network_that_fails() -> None:
    remote = Remote("s3://bucket/x")
    remote._at.__dict__["_fs"] = broken = Broken(ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        remote.record("1" * 32)
    assert broken.calls == 1


def test_wrong_credentials_are_a_mistake(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/nonexistent")
    with pytest.raises(UserError, match=r"was refused \(got NoCredentialsError.*Check the credentials"):
        Remote(s3_url).record("1" * 32)


def test_a_bucket_that_is_not_there(s3_url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="there is no bucket absent-bucket"):
        Transport("s3://absent-bucket/x").upload(tmp_path / "file", "file")


@pytest.mark.parametrize(
    ("url", "safe"),
    [("s3://a:b@c/d/", "s3://c/d"), ("/folder@home/x", "/folder@home/x"), ("http://t0ken@h/x@y", "http://h/x@y")],
)
def test_shown(url: str, safe: str) -> None:
    assert shown(url) == safe
