"""Lock files of a dead Snakemake go; those of one that lives, or may live, stay."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from losspatterns.records import liveness
from losspatterns.records.liveness import clear_stale_locks, identity, machine, start_time

HOLDER = "import pathlib, sys, time; from losspatterns.records.liveness import clear_stale_locks;"
HOLDER += "alive = clear_stale_locks(pathlib.Path(sys.argv[1])); print('alive', flush=True); sys.stdin.read()"


@pytest.fixture
def holder(tmp_path: Path, root: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that lives as a Snakemake of the project does, until its standard input ends."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env={"PYTHONPATH": str(root / "scripts")}, **streams) as process:
        assert process.stdout.readline() == "alive\n"
        yield process
        process.kill()


def left_lock(folder: Path) -> Path:
    """A lock file of Snakemake's."""
    lock = folder / "locks/0.output.lock"
    lock.parent.mkdir(exist_ok=True)
    lock.touch()
    return lock


def test_locks_stay_while_their_owner_lives_and_go_when_it_is_killed(
    tmp_path: Path, holder: subprocess.Popen[str], capsys: pytest.CaptureFixture[str]
) -> None:
    lock = left_lock(tmp_path)
    second = clear_stale_locks(tmp_path)  # one more that lives, and outlives the first
    assert lock.exists()
    holder.kill()
    holder.wait()
    assert len(list((tmp_path / "living").iterdir())) == 2
    clear_stale_locks(tmp_path).close()
    second.close()
    assert not lock.exists(), "this process does not count as another"
    assert capsys.readouterr().err == ""


def test_one_that_ends_by_itself_leaves_no_record(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    assert len(list((tmp_path / "living").iterdir())) == 1
    holder.communicate("")
    assert holder.returncode == 0
    assert list((tmp_path / "living").iterdir()) == []


def record(folder: Path, host: str, number: str, boot: str) -> Path:
    """The record of a Snakemake that no process of this machine holds."""
    file = folder / f"living/{host}-123-456"
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"{host} {number} {boot}")
    return file


@pytest.mark.parametrize(
    ("changed", "stays"),
    [
        ({}, False),  # killed on this machine
        ({"boot": "before"}, False),  # this machine has booted since
        ({"host": "login2", "number": "2", "boot": "2"}, True),  # another machine
        ({"number": "2", "boot": "2"}, True),  # another machine of the same name
        ({"host": "login2", "boot": "2"}, True),  # a copy of this machine under another name
    ],
)
def test_locks_of_another_machine_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, str], stays: bool
) -> None:
    lock = left_lock(tmp_path)
    file = record(tmp_path, **dict(zip(("host", "number", "boot"), machine(), strict=True)) | changed)
    clear_stale_locks(tmp_path).close()
    assert lock.exists() is file.exists() is stays
    said = capsys.readouterr().err
    if stays:
        assert said.count("\n") == 1 and f"rm {file}; snakemake --unlock" in said and str(lock.parent) in said
        file.unlink()
        clear_stale_locks(tmp_path).close()
        assert not lock.exists()
    else:
        assert said == ""


@pytest.mark.parametrize("text", ["", "one", "a b c d e"])
def test_a_damaged_record_may_be_anybody_s(tmp_path: Path, text: str) -> None:
    lock = left_lock(tmp_path)
    record(tmp_path, "h", "n", "b").write_text(text)
    clear_stale_locks(tmp_path).close()
    assert lock.exists()


def test_without_lock_files_there_is_nothing_to_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path, "login2", "2", "2")
    clear_stale_locks(tmp_path).close()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("others", [0, 1])
def test_a_file_system_without_locks_removes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    def no_locks(file: object, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    lock = left_lock(tmp_path)
    for _ in range(others):
        record(tmp_path, *machine())
    monkeypatch.setattr(fcntl, "flock", no_locks)
    clear_stale_locks(tmp_path).close()
    assert lock.exists()
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and os.strerror(errno.ENOLCK) in said and said.endswith("snakemake --unlock\n")


def test_lock_files_made_after_the_look_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Snakemake that starts meanwhile is not among the records that were looked at."""
    old, new = left_lock(tmp_path), tmp_path / "locks/1.output.lock"
    record(tmp_path, *machine())
    ended = liveness._ended
    monkeypatch.setattr(liveness, "_ended", lambda file: [new.touch(), ended(file)][1])
    clear_stale_locks(tmp_path).close()
    assert new.exists() and not old.exists()


def test_a_process_is_told_by_its_start(holder: subprocess.Popen[str]) -> None:
    assert identity()[1] == str(os.getpid())
    if sys.platform == "linux":
        own, later = start_time(str(os.getpid())), start_time(str(holder.pid))
        assert int(own) <= int(later) and start_time("self") is None
        holder.kill()
        holder.wait()
        assert start_time(str(holder.pid)) is None
