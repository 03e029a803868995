"""Lock files of a dead Snakemake go; those of one that lives, or may live, stay."""

import errno
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from losspatterns.errors import InputError
from losspatterns.records.liveness import clear_stale_locks, end_future, identity, machine, start_time

HOLDER = "import pathlib, sys, time; from losspatterns.records.liveness import clear_stale_locks;"
HOLDER += "clear_stale_locks(pathlib.Path(sys.argv[1])); print('alive', flush=True); sys.stdin.read()"
NAME, BOOT = machine()


@pytest.fixture
def holder(tmp_path: Path, root: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that lives as a Snakemake of the project does, until its standard input ends."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env={"PYTHONPATH": str(root / "scripts")}, **streams) as process:
        assert process.stdout.readline() == "alive\n"
        yield process
        process.kill()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """A lock file of Snakemake's."""
    lock = tmp_path / "locks/0.output.lock"
    lock.parent.mkdir()
    lock.touch()
    return lock


def record(folder: Path, boot: str, text: str) -> Path:
    """The record of a Snakemake that no process of this machine holds."""
    file = folder / "living" / boot
    file.parent.mkdir()
    file.write_text(text)
    return file


def test_locks_stay_while_an_owner_lives_and_go_when_all_are_killed(
    tmp_path: Path, holder: subprocess.Popen[str], lock: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = clear_stale_locks(tmp_path)  # one more that lives, and outlives the first
    assert lock.exists()
    holder.kill()
    holder.wait()
    clear_stale_locks(tmp_path).close()
    assert lock.exists()
    second.close()
    clear_stale_locks(tmp_path).close()
    assert not lock.exists() and capsys.readouterr().err == ""


def test_only_the_last_that_ends_by_itself_leaves_an_empty_record(
    tmp_path: Path, root: Path, holder: subprocess.Popen[str]
) -> None:
    """Another machine knows by it that none lives here."""
    second = clear_stale_locks(tmp_path)
    holder.communicate("")
    assert (tmp_path / "living" / BOOT).read_text() == f"{NAME}\n"
    second.close()
    with subprocess.Popen(holder.args, env={"PYTHONPATH": str(root / "scripts")}, stdin=subprocess.DEVNULL) as last:
        assert last.wait() == 0
    assert [file.read_text() for file in (tmp_path / "living").iterdir()] == [""]


@pytest.mark.parametrize(
    ("boot", "text", "stays"),
    [
        (BOOT, f"{NAME}\n", False),  # killed on this machine
        ("before", f"{NAME}\n", False),  # this machine has booted since
        ("2", "", False),  # another machine, where all have ended
        ("2", "login2 2\n", True),  # another machine
        ("2", f"{NAME} too\n", True),  # a damaged record may be anybody's
    ],
)
def test_locks_of_another_machine_stay(
    tmp_path: Path, lock: Path, capsys: pytest.CaptureFixture[str], boot: str, text: str, stays: bool
) -> None:
    file = record(tmp_path, boot, text)
    clear_stale_locks(tmp_path).close()
    assert lock.exists() is stays
    said = capsys.readouterr().err
    if stays:
        assert said.count("\n") == 1 and f"rm {file}; snakemake --unlock" in said and str(lock.parent) in said
        file.unlink()
        clear_stale_locks(tmp_path).close()
        assert not lock.exists()
    else:
        assert said == ""


def test_without_lock_files_there_is_nothing_to_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path, "2", "login2 2\n")
    clear_stale_locks(tmp_path).close()
    assert capsys.readouterr().err == ""


def test_a_file_system_without_locks_removes_nothing(
    tmp_path: Path, lock: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(file: object, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    clear_stale_locks(tmp_path).close()
    said = capsys.readouterr().err
    assert lock.exists() and said.count("\n") == 1
    assert os.strerror(errno.ENOLCK) in said and said.endswith("snakemake --unlock\n")


def test_lock_files_made_after_the_look_stay(tmp_path: Path, lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Snakemake that starts meanwhile is not among the records that were looked at."""
    new, flock = tmp_path / "locks/1.output.lock", fcntl.flock
    monkeypatch.setattr(fcntl, "flock", lambda file, how: [new.touch(), flock(file, how)][1])
    clear_stale_locks(tmp_path).close()
    assert new.exists() and not lock.exists()


def test_a_process_is_told_by_its_start(holder: subprocess.Popen[str]) -> None:
    assert identity()[1] == str(os.getpid())
    if sys.platform == "linux":
        own, later = start_time(str(os.getpid())), start_time(str(holder.pid))
        assert int(own) <= int(later) and start_time("self") is None
        holder.kill()
        holder.wait()
        assert start_time(str(holder.pid)) is None


def test_dates_in_the_future_end_for_results_and_are_told_for_files_of_the_user_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    files = [Path("results/s/a.npy"), Path("results/s/b.npy"), Path("logo.png")]
    Path("results/s").mkdir(parents=True)
    for file in files:
        file.touch()
    end_future([*map(str, files), "results/s/none.npy"], ["results/s"])
    assert capsys.readouterr().err == ""
    os.utime(files[0], (2e9, 2e9))
    end_future(map(str, files), ["results/s"])
    assert capsys.readouterr().err.startswith("results/s/a.npy: is dated 2033-05-1") and files[0].stat().st_mtime <= time.time()
    os.utime(files[2], (2e9, 2e9))
    with pytest.raises(
        InputError, match=r"^logo\.png: is dated 2033-.*: Snakemake would throw away what is made from it; touch"
    ):
        end_future(map(str, files), ["results/s"])
