"""A log gets lines: every state of a bar at once, and nothing twice."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from components.contract.lines import Lines, lines_on_stderr


def _through(*pieces: str) -> str:
    stream = io.StringIO()
    lines = Lines(stream)
    for piece in pieces:
        lines.write(piece)
        lines.flush()
    return stream.getvalue()


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (("plain\n", "text"), "plain\ntext"),
        (("\r 0%|", "\r50%|", "\r100%|", "\n"), " 0%|\n50%|\n100%|\n"),
        (("\r50%|", "\r     \r", "said in between\n", "\r60%|", "\n", "end\n"), "50%|\nsaid in between\n60%|\nend\n"),
        (("half\r50%|", "\n"), "half\n50%|\n"),
        (("dos\r\n", "unix\n"), "dos\nunix\n"),
        (("a\n", "\n", "b\n"), "a\n\nb\n"),
        (("\r50%|", "\n", "\n", "b\n"), "50%|\n\nb\n"),
    ],
)
def test_carriage_returns_become_line_ends(pieces: tuple[str, ...], expected: str) -> None:
    assert _through(*pieces) == expected


def test_a_bar_in_a_log() -> None:
    code = (
        "import sys, time\n"
        "from components.contract.lines import lines_on_stderr\n"
        "with lines_on_stderr():\n"
        "    from tqdm import tqdm\n"
        "    for _ in tqdm(range(3), desc='first', mininterval=0): pass\n"
        "    print('between', file=sys.stderr)\n"
        "    for _ in tqdm(range(1000), desc='second'): pass\n"
        "print('after', file=sys.stderr)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stderr.decode()
    lines = said.split("\n")
    assert "\r" not in said
    assert "" not in lines[:-1]
    assert lines[-2:] == ["after", ""]
    assert "first: 100%" in said.split("between")[0]
    assert [line.split("%")[0] for line in lines if line.startswith("second")] == ["second:   0", "second: 100"]


def test_a_terminal_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with lines_on_stderr():
        assert sys.stderr is terminal
