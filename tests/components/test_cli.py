"""The command line: exit codes decide about retries, and a killed run leaves nothing that looks finished."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from components.artifacts import content_id
from components.cli import main
from components.contract import load_record
from components.contract.arguments import EXAMPLES

Cli = Callable[..., subprocess.CompletedProcess[str]]
ARGS = ("run", "toy", "--in", "texts=text", "--out", "out=made/out", "--out", "twin=made/twin")


@pytest.fixture(autouse=True)
def text(project: Path) -> None:
    (project / "text").write_text("words")


def test_done_is_0_and_prints_what_was_made(cli: Cli, project: Path) -> None:
    done = cli(*ARGS)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == f"toy@1 out {content_id(project / 'made' / 'out')}"


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("run", "toyy"), 2, "error: component 'toyy': no such component. Did you mean 'toy'?"),
        ((*ARGS, "--set", "tims=2"), 2, "error: params.toy: unknown key 'tims'. Did you mean 'times'?"),
        ((*ARGS, "--set", "times=1e0"), 2, "must be int (got '1e0' (str)). Remove the quotes"),
        ((*ARGS, "--set", "inner.sufix=x"), 2, "error: params.toy.inner: unknown key 'sufix'. Did you mean 'suffix'?"),
        ((*ARGS, "--params", "absent.yaml"), 2, "error: absent.yaml: no such file"),
        ((*ARGS, "--in", "head"), 2, "error: --in head: must be PORT=PATH"),
        (("run", "toy", "--in", "texts=absent", *ARGS[4:]), 3, "error: toy --in texts: absent does not exist"),
        ((*ARGS, "--set", "fail=RecordError"), 3, "error: toy: failed as asked (got fail). Do not ask."),
        ((*ARGS, "--set", "fail=JudgeError"), 1, "error: toy: failed as asked"),
        ((*ARGS, "--set", "fail=RuntimeError"), 1, "RuntimeError: toy: failed as asked"),
        (("rum",), 2, "invalid choice"),
    ],
)
def test_exit_codes(cli: Cli, args: tuple[str, ...], code: int, message: str) -> None:
    """2: a person must change something. 3: the data is bad. Anything else is a crash and may be retried."""
    done = cli(*args)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    if "Error: " not in message:
        assert "Traceback" not in done.stderr


def test_parameters_come_from_the_named_section_and_then_from_set(cli: Cli, project: Path) -> None:
    (project / "params.yaml").write_text("toy: {times: 2}\nanother: {times: 3, inner: {suffix: '!'}}\n")
    assert cli(*ARGS, "--params", "params.yaml").returncode == 0
    assert (project / "made" / "out" / "text").read_text() == "words.words."
    assert cli(*ARGS, "--params", "params.yaml:another", "--set", "inner.suffix=x").returncode == 0
    assert (project / "made" / "out" / "text").read_text() == "wordsxwordsxwordsx"
    assert cli(*ARGS, "--set", "inner.suffix=y").returncode == 0  # over the defaults
    assert (project / "made" / "out" / "text").read_text() == "wordsy"
    done = cli(*ARGS, "--params", "params.yaml:nobody")
    assert (done.returncode, "no section 'nobody'" in done.stderr) == (2, True)


def test_under_torchrun_only_rank_zero_says_what_it_made(cli: Cli, project: Path) -> None:
    assert cli(*ARGS, RANK="1").stdout == ""
    assert len(cli(*ARGS, RANK="0").stdout.splitlines()) == 2


def test_list_and_show(cli: Cli) -> None:
    assert cli("list").stdout == "toy@1  Write the texts of its inputs, several times.\n"
    shown = cli("show", "toy").stdout
    for line in (
        "texts: raw_feedback (many)",
        "head: raw_feedback (optional)",
        "times = 1  How often.",
        "suffix = .  Written",
    ):
        assert line in shown


@pytest.mark.parametrize("args", [("list",), ("show", "toy"), ARGS])
def test_the_contract_imports_nothing_heavy(project: Path, args: tuple[str, ...]) -> None:
    heavy = ("torch", "transformers", "accelerate", "prefect", "mlflow", "dvc", "sklearn", "pandas", "numpy", "pyarrow")
    code = (
        "import sys; from components.cli import main; main(sys.argv[1:]);"
        f"print('HEAVY', *(name for name in {heavy} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, *args], cwd=project, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].strip() == "HEAVY"


def _started(project: Path, flag: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "components", *ARGS], cwd=project, env={**os.environ, "TOY_HANG": str(flag)}
    )
    for _ in range(600):
        if flag.exists():
            return process
        time.sleep(0.05)
    process.kill()
    raise AssertionError("the toy did not start")


def test_kill_9_in_the_middle_leaves_no_output_and_the_rerun_is_the_same_run(
    cli: Cli, project: Path, tmp_path: Path
) -> None:
    process = _started(project, tmp_path / "started")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not any((project / "made" / name).exists() for name in ("out", "twin", "out.record.json"))
    assert list((project / "made").glob("out.tmp-*"))  # the half-written one, under a name nobody reads

    assert cli(*ARGS).returncode == 0
    resumed = load_record(project / "made" / "out")
    names = {path.name for path in (project / "made").iterdir()}
    assert names == {f"{port}{end}" for port in ("out", "twin") for end in ("", ".record.json", ".execution.json")}
    assert '"resumed": true' in (project / "made" / "out.execution.json").read_text()  # its checkpoint was still there

    assert cli(*ARGS[:4], "--out", "out=other/out", "--out", "twin=other/twin").returncode == 0
    assert load_record(project / "other" / "out") == resumed


def test_sigterm_removes_what_was_half_written(project: Path, tmp_path: Path) -> None:
    process = _started(project, tmp_path / "started")
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 143
    assert list((project / "made").iterdir()) == []


def test_a_step_ends_when_its_driver_is_gone(project: Path, tmp_path: Path) -> None:
    """The driver is a shell that starts the step and dies; nobody else would stop the step."""
    flag, pid_file = tmp_path / "started", tmp_path / "pid"
    code = (
        "import os, subprocess, sys, time\n"
        f"env = {{**os.environ, 'TOY_HANG': {str(flag)!r}, 'PREFLOW_PARENT_PID': str(os.getpid())}}\n"
        f"step = subprocess.Popen([sys.executable, '-m', 'components', *{list(ARGS)!r}], env=env)\n"
        f"open({str(pid_file)!r}, 'w').write(str(step.pid))\n"
        f"while not os.path.exists({str(flag)!r}): time.sleep(0.05)\n"
        "os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=project, timeout=60, check=False)
    import psutil

    pid = int(pid_file.read_text())
    if psutil.pid_exists(pid):
        psutil.wait_procs([psutil.Process(pid)], timeout=30)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_help_has_an_example_of_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert EXAMPLES in capsys.readouterr().out
    for command in ("list", "show", "run", "check", "new"):
        assert f"python -m components {command}" in EXAMPLES
