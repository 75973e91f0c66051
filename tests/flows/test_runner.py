"""The local runner: live output, causes by exit code, and no step that outlives its driver."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from flows.local import LocalRunner, run_local
from flows.runner import Job, RunCancelled, StepFailed


def job(monkeypatch: pytest.MonkeyPatch, script: str) -> Job:
    monkeypatch.setattr(Job, "argv", lambda self: ["-c", script])
    return Job("toy", "toy", "toy", "params.yaml", {}, {})


def test_argv_is_the_documented_command_line() -> None:
    made = Job("s", "c", "part", "p.yaml", {"a": ["x", "y"]}, {"o": "z"})
    assert made.argv() == [
        "-m",
        "components",
        "run",
        "c",
        "--params",
        "p.yaml:part",
        "--in",
        "a=x",
        "--in",
        "a=y",
        "--out",
        "o=z",
    ]


def test_lines_arrive_while_the_step_runs_and_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines: list[str] = []
    run_local(
        job(monkeypatch, "import sys; print('out'); print('err', file=sys.stderr)"), tmp_path / "log", lines.append
    )
    assert sorted(lines) == ["err", "out"]
    assert sorted((tmp_path / "log").read_text().split()) == ["err", "out"]


def test_the_log_file_grows_with_the_step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Who looks into the run folder while a step runs sees what it has said so far."""
    seen: list[str] = []

    def emit(line: str) -> None:
        seen.append((tmp_path / "log").read_text())

    run_local(
        job(monkeypatch, "print('one', flush=True); import time; time.sleep(0.5); print('two')"), tmp_path / "log", emit
    )
    assert seen[0] == "one\n"


def test_a_progress_bar_does_not_flood_the_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines: list[str] = []
    script = "import sys\nfor i in range(101): sys.stderr.write(f'\\rtrain: {i}%|##| {i}/100'); sys.stderr.flush()"
    run_local(job(monkeypatch, script), tmp_path / "log", lines.append)
    assert len(lines) == 2, "the first and the last state of a bar that took no time"
    assert lines[-1].startswith("train: 100%")


@pytest.mark.parametrize(("code", "retryable"), [(2, False), (3, False), (1, True), (137, True)])
def test_exit_codes_decide_about_retries(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int, retryable: bool
) -> None:
    script = f"import sys; print('noise'); print('error: params: WHAT. REMEDY.', file=sys.stderr); sys.exit({code})"
    with pytest.raises(StepFailed, match=r"params: WHAT\. REMEDY\.") as caught:
        run_local(job(monkeypatch, script), tmp_path / "log", lambda line: None)
    assert caught.value.retryable is retryable
    assert caught.value.exit_code == code


def test_a_signal_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="killed by SIGKILL"):
        run_local(job(monkeypatch, "import os; os.kill(os.getpid(), 9)"), tmp_path / "log", lambda line: None)


def test_an_interrupted_driver_ends_its_step_with_sigterm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('asked to stop', flush=True), sys.exit(143)))\n"
        "print('ready', flush=True)\ntime.sleep(60)"
    )

    def emit(line: str) -> None:
        if line == "ready":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_local(job(monkeypatch, script), tmp_path / "log", emit)
    assert not [p for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]


def test_a_step_dies_with_a_driver_that_is_killed_hard(tmp_path: Path) -> None:
    """`python -m components run` watches its parent: after kill -9 of the driver nothing goes on in the background."""
    child = tmp_path / "child.py"
    child.write_text(
        "import os, time\nfrom components import cli\ncli._end_with_parent()\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(120)\n"
    )
    driver = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, subprocess, sys\nos.environ['PREFLOW_PARENT_PID'] = str(os.getpid())\n"
            f"subprocess.run([sys.executable, {str(child)!r}])",
        ]
    )
    pid = _wait_for(tmp_path / "pid")
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    for _ in range(100):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the step outlived its driver")


def _wait_for(file: Path) -> int:
    for _ in range(300):
        if file.exists() and file.read_text():
            return int(file.read_text())
        time.sleep(0.1)
    pytest.fail("the child did not start")


def test_output_of_two_steps_at_once_does_not_mix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    toy = job(monkeypatch, "print('x' * 10)")
    seen: dict[int, list[str]] = {0: [], 1: []}
    threads = [threading.Thread(target=run_local, args=(toy, tmp_path / str(i), seen[i].append)) for i in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {0: ["x" * 10], 1: ["x" * 10]}


def test_ending_the_runner_ends_every_step_and_lets_none_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As when the flow is interrupted while several steps run: they are cancelled, which is no crash to be retried."""
    monkeypatch.chdir(tmp_path)
    runner, ready, told = LocalRunner(), threading.Semaphore(0), list[BaseException]()
    toy = job(monkeypatch, "import time; print('ready', flush=True); time.sleep(120)")

    def step(number: int) -> None:
        try:
            runner.run(toy, tmp_path / str(number), lambda line: ready.release(), lambda: False)
        except RunCancelled as error:
            told.append(error)

    threads = [threading.Thread(target=step, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert ready.acquire(timeout=30)
    runner.end()
    step(2)
    for thread in threads:
        thread.join()
    assert sorted("not started" in str(error) for error in told) == [False, False, True]
    assert not [p for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]


def test_several_processes_are_launched_together_and_their_own_exit_code_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By torchrun, which ends with 1 whatever its workers ended with: what a worker wrote down decides."""
    script = tmp_path / "worker.py"
    script.write_text(
        "import json, os, sys\n"
        "os.write(1, f\"rank {os.environ['RANK']} of {os.environ['WORLD_SIZE']}\\n\".encode())\n"
        "note = {'exit_code': 3, 'message': 'data: WHAT. REMEDY.'}\n"
        "open(os.environ['PREFLOW_TERMINATION_LOG'], 'w').write(json.dumps(note))\n"
        "sys.exit(3)\n"
    )
    monkeypatch.setattr(Job, "argv", lambda self: [str(script)])
    lines: list[str] = []
    with pytest.raises(StepFailed, match=r"data: WHAT\. REMEDY\.") as caught:
        run_local(Job("toy", "toy", "toy", "params.yaml", {}, {}, processes=2), tmp_path / "log", lines.append)
    assert caught.value.exit_code == 3
    assert {"rank 0 of 2", "rank 1 of 2"} & set(lines)
    assert not list(tmp_path.glob("*.end.json"))


def test_launched_workers_end_when_the_driver_is_gone(tmp_path: Path) -> None:
    """Their parent is torchrun; they watch the driver all the same."""
    driver = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    code = "from components.cli import _end_with_parent; import time; _end_with_parent(); time.sleep(60)"
    env = {**os.environ, "PREFLOW_PARENT_PID": str(driver.pid), "LOCAL_RANK": "0"}
    worker = subprocess.Popen([sys.executable, "-c", code], env=env)
    time.sleep(2)
    assert worker.poll() is None
    driver.kill()
    driver.wait()
    assert worker.wait(20) == 143
