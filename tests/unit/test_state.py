"""The saved state of a job: it goes on to the same bits, it trusts nothing that is not its own, and one process holds it."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from losspatterns.errors import Stopped
from losspatterns.records.artifacts import unfinished
from losspatterns.records.liveness import start_time
from losspatterns.records.state import StateFile, fingerprint, flatten, unflatten

OWN = fingerprint(run="a/b/c", seed=0)


def state_file(folder: Path, every: float = 1000.0, owner: str = OWN) -> StateFile:
    return StateFile(folder / "deep/er/seed0.safetensors", owner, every)


def test_a_tree_comes_back_with_its_layout_in_memory(tmp_path: Path) -> None:
    column_major = torch.arange(6.0).view(3, 2).T
    assert column_major.stride() == (1, 2)
    tree = {
        "optimizer": {"state": {0: {"GG": [column_major, []], "step": 7}, 1: {}}, "betas": [0.9, 0.95], "none": None},
        "random": torch.Generator().manual_seed(3).get_state(),
        "scalar": torch.tensor(0.25),
        "strided": torch.arange(10.0)[::2],
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "empty": torch.empty(0, dtype=torch.int64),
    }
    with state_file(tmp_path) as state:
        state.save(tree)
        back = state.load()
    assert list(back) == list(tree)
    assert back["optimizer"]["state"][0]["GG"][0].stride() == (1, 2)
    assert torch.equal(back["optimizer"]["state"][0]["GG"][0], column_major)
    assert back["optimizer"]["state"][0]["GG"][1] == [] and back["optimizer"]["state"][1] == {}
    assert back["optimizer"]["betas"] == [0.9, 0.95] and back["optimizer"]["none"] is None
    for name in ("random", "scalar", "strided", "channels_last", "empty"):
        assert torch.equal(back[name], tree[name]) and back[name].dtype == tree[name].dtype, name
    assert back["channels_last"].is_contiguous(memory_format=torch.channels_last)


def test_what_is_saved_is_a_copy() -> None:
    tensors: dict[str, torch.Tensor] = {}
    live = torch.zeros(3)
    plan = flatten({"x": live}, tensors)
    live += 1
    assert torch.equal(unflatten(plan, tensors)["x"], torch.zeros(3))


def test_no_state_is_none_and_a_finished_one_is_gone(tmp_path: Path) -> None:
    with state_file(tmp_path) as state:
        assert state.load() is None
        state.save({"x": torch.ones(2)})
        assert state.path.exists()
        state.delete()
        assert state.load() is None
        assert not state.path.exists()


def test_what_a_save_that_was_killed_left_behind_goes(tmp_path: Path) -> None:
    with state_file(tmp_path) as state:
        left = unfinished(state.path)
        left.write_bytes(b"half")
    with state_file(tmp_path):
        assert not left.exists()


def test_a_foreign_state_is_set_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with state_file(tmp_path, owner=fingerprint(run="a/b/c", seed=1)) as other:
        other.save({"x": torch.ones(2)})
    with state_file(tmp_path) as state:
        assert state.load() is None
        assert not state.path.exists()
        assert state.path.with_suffix(".set-aside").exists()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "other settings" in lines[0] and str(state.path) in lines[0]


@pytest.mark.parametrize("place", [0.0, 0.2, 0.5, 0.9, 0.9999])
def test_a_bit_flipped_or_truncated_state_is_set_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: float
) -> None:
    with state_file(tmp_path) as state:
        state.save({"x": torch.arange(300.0), "note": "something"})
        whole = state.path.read_bytes()
        at = int(place * len(whole))
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :]):
            state.path.write_bytes(damaged)
            assert state.load() is None
            assert "starts over" in capsys.readouterr().err
            assert not state.path.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_makes_a_save_due_and_ends_the_work(tmp_path: Path, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with state_file(tmp_path) as state:
        assert not state.due
        os.kill(os.getpid(), number)
        assert state.due
        with pytest.raises(Stopped, match=number.name) as stopped:
            state.save({"x": torch.ones(1)})
        assert stopped.value.status == 128 + number
        assert torch.equal(state.load()["x"], torch.ones(1))
    assert signal.getsignal(number) is before


def test_it_is_due_by_time(tmp_path: Path) -> None:
    with state_file(tmp_path, every=1.0) as state:
        time.sleep(1.05)
        assert state.due
        state.save({})
        assert not state.due


HOLDER = """
import sys, time
from losspatterns.records.state import StateFile
from losspatterns.errors import run_script
def main():
    with StateFile(sys.argv[1], "x", 1000) as state:
        print("holding", flush=True)
        while True:
            time.sleep(0.05)
            if state.due:
                state.save({"from": "the first"})
run_script(main)
"""


def test_a_process_left_behind_hands_over(tmp_path: Path, root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "seed0.safetensors"
    environment = {**os.environ, "PYTHONPATH": str(root / "scripts")}
    first = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True, env=environment)
    assert first.stdout.readline() == "holding\n"
    with StateFile(path, "x", 1000) as state:
        assert first.wait(30) == 128 + signal.SIGTERM
        assert state.load() == {"from": "the first"}
    assert f"process {first.pid}" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("host", "started", "signalled"),
    [
        ("here", "its own", sys.platform == "linux"),
        ("here", "1", False),  # the number was given anew
        ("here", "unknown", False),
        ("elsewhere", "its own", False),
        ("here", "", False),  # a lock of an older version
        ("", "", False),  # one that is not written yet
    ],
)
def test_only_the_process_that_holds_the_state_is_signalled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], host: str, started: str, signalled: bool
) -> None:
    """The lock is held, and names a process that may have nothing to do with it."""
    with subprocess.Popen(["sleep", "600"]) as bystander, open(tmp_path / "seed0.lock", "w", encoding="utf-8") as lock:
        try:
            name = {"here": socket.gethostname()}.get(host, host)
            lock.write(f"{name} {bystander.pid} {start_time(str(bystander.pid)) if started == 'its own' else started}".strip())
            lock.flush()
            fcntl.flock(lock, fcntl.LOCK_EX)
            timer = threading.Timer(0.5, lambda: fcntl.flock(lock, fcntl.LOCK_UN))
            timer.start()
            with StateFile(tmp_path / "seed0.safetensors", "x", 1000):
                pass
            if signalled:
                assert bystander.wait(10) == -signal.SIGTERM
            else:
                assert bystander.poll() is None
            assert ("is still at work" in capsys.readouterr().err) is bool(host)
        finally:
            bystander.kill()
