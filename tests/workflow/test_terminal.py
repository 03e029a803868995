"""What a run shows on a terminal, in a pipe, and with --verbose: the same error, told once."""

import os
import pty
import termios
from pathlib import Path

import pytest
from conftest import SMOKE, command, environment, snakemake

FIGURE, SCORES = "figures/smoke/fig2_method.png", "results/smoke/scores.csv"


def on_a_terminal(folder: Path, *arguments: str) -> tuple[int, str]:
    """Exit status and output of Snakemake in a pseudo-terminal."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.execve(command()[0], command(*arguments), environment())
    termios.tcsetwinsize(terminal, (40, 150))
    output = b""
    try:
        while data := os.read(terminal, 65536):
            output += data
    except OSError:  # the end of a terminal, on Linux
        pass
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), output.decode().replace("\r\n", "\n")


@pytest.fixture
def damaged(finished: Path) -> Path:
    """A finished run that lacks a figure and whose scores are damaged, so that the claims cannot be written again."""
    (finished / FIGURE).unlink()
    (finished / "results/smoke/claims.csv").unlink()
    scores, time = finished / SCORES, os.stat(finished / SCORES)
    scores.write_bytes(scores.read_bytes()[:-1])
    os.utime(scores, ns=(time.st_atime_ns, time.st_mtime_ns))
    return finished


def test_errors_are_told_on_a_terminal_and_in_a_pipe(damaged: Path) -> None:
    arguments = ("--cores", "1", "--rerun-triggers", "mtime", *SMOKE, "--", FIGURE, "results/smoke/claims.csv")
    status, shown = on_a_terminal(damaged, *arguments)
    assert status == 1 and (damaged / FIGURE).exists()
    assert "0 of 2 jobs done, 1 running, about" in shown  # the copy has times of the run before
    assert shown.rstrip().rsplit("| ", 1)[-1] == "1 of 2 jobs done, 1 failed"
    assert "Reason:" not in shown and "Select jobs" not in shown and "Job stats:" in shown
    (damaged / FIGURE).unlink()
    _, verbose = on_a_terminal(damaged, "--verbose", *arguments)
    piped = snakemake(damaged, *arguments)
    assert piped.returncode == 1
    for text in (shown, verbose, piped.stdout):
        assert text.count(f"error: {SCORES}: damaged") == 1
    for text in (verbose, piped.stdout):
        assert "Reason: " in text and "jobs done" not in text
