"""Jobs at once have devices of their own. Memory that runs out halves the work, in one clear line; nothing else is caught."""

import platform
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import run_program
from losspatterns.errors import InputError
from losspatterns.method import devices, training
from losspatterns.method.devices import claim, keep_freed_memory, send, with_less_memory
from test_training import run


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
    ],
)
def test_the_count_is_halved_until_it_fits(error: RuntimeError, capsys) -> None:
    tried = []

    def work(count: int) -> str:
        tried.append(count)
        if count > 3:
            raise error
        return "done"

    assert with_less_memory("here", work, 13) == ("done", 3)
    assert tried == [13, 6, 3]
    assert capsys.readouterr().err.splitlines() == [
        "here: out of memory; going on with 6 at a time",
        "here: out of memory; going on with 3 at a time",
    ]


def test_a_single_one_that_does_not_fit_is_told_in_one_line() -> None:
    def work(count: int) -> None:
        torch.empty(2**60)

    with pytest.raises(InputError, match=r"^here: out of memory even for one at a time \(.*can't allocate") as caught:
        with_less_memory("here", work, 4)
    assert "\n" not in str(caught.value)


def test_other_errors_pass() -> None:
    def work(count: int) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        with_less_memory("here", work, 4)


def test_training_goes_on_with_smaller_chunks_to_the_same_result(monkeypatch, capsys) -> None:
    whole = run(updates=12, pixels_per_chunk=2).plane
    real, chunks = training.plane_gradient, []

    def short_of_memory(*arguments: object, **more: object) -> object:
        chunks.append(arguments[-1])
        if arguments[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(*arguments, **more)

    monkeypatch.setattr(training, "plane_gradient", short_of_memory)
    halved = run(updates=12, pixels_per_chunk=4).plane
    assert chunks == [4, *[2] * 12]
    assert "toy/run: pixels_per_chunk: out of memory; going on with 2 at a time" in capsys.readouterr().err
    for name, tensor in whole.tensors().items():
        assert torch.equal(tensor, halved.tensors()[name]), name


def test_freed_memory_is_kept_where_the_c_library_can() -> None:
    """In a process of its own: a large array is mapped once, and the next one lies where it was."""
    program = """
import resource, sys
import numpy as np
from losspatterns.method.devices import keep_freed_memory
print(keep_freed_memory())
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
first, *others = (faults() for _ in range(4))
print(max(others) < first / 10)
"""
    kept = platform.libc_ver()[0] == "glibc"
    assert run_program(program).split() == [str(kept), str(kept)]


def test_another_c_library_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.ctypes, "CDLL", lambda name: SimpleNamespace())
    assert not keep_freed_memory()


def test_jobs_at_once_land_on_different_devices(tmp_path: Path) -> None:
    names = ["GPU-a", "GPU-b", "GPU-c"]
    claims = [claim(names, tmp_path) for _ in names]
    assert [number for number, _ in claims] == [0, 1, 2]
    late: list[int] = []
    waiting = threading.Thread(target=lambda: late.append(claim(names, tmp_path, poll=0.01)[0]))
    waiting.start()
    waiting.join(0.3)
    assert late == []
    claims[1][1].close()
    waiting.join(30)
    assert late == [1]


def test_a_device_goes_by_its_name_whatever_its_number(tmp_path: Path) -> None:
    first = claim(["GPU-a", "GPU-b"], tmp_path)
    assert first[0] == 0
    assert claim(["GPU-b", "GPU-a"], tmp_path)[0] == 0


def test_several_jobs_may_share_devices_and_take_empty_ones_first(tmp_path: Path) -> None:
    claims = [claim(["GPU-a", "GPU-b"], tmp_path, jobs=2) for _ in range(4)]
    assert [number for number, _ in claims] == [0, 1, 0, 1]


def test_a_killed_job_lets_go_of_its_device(tmp_path: Path, root: Path) -> None:
    code = "import sys, time, pathlib; from losspatterns.method.devices import claim;"
    code += "held = claim(['GPU-a'], pathlib.Path(sys.argv[1]));"
    code += "print(held[0], flush=True); time.sleep(600)"
    environment = {"PYTHONPATH": str(root / "scripts")}
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment)
    assert holder.stdout.readline() == "0\n"
    holder.kill()
    holder.wait()
    assert claim(["GPU-a"], tmp_path)[0] == 0


def test_a_job_takes_the_device_it_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a fake list of devices, as no test machine has several."""
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: type("Properties", (), {"uuid": f"fake-{number}"}))
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(devices.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(devices, "_held", [])
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert [str(devices.claim_device()) for _ in range(2)] == ["cuda:0", "cuda:1"]
    assert chosen == [0, 1]
    assert not torch.backends.cudnn.allow_tf32  # float32 convolutions, as on a CPU


@pytest.mark.parametrize("jobs", ["0", "-1", "two", "1.5", ""])
def test_jobs_per_gpu_that_are_no_number_of_jobs_are_told(jobs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On every machine: without a GPU too, where nothing would wait for ever."""
    monkeypatch.setenv("LOSSPATTERNS_JOBS_PER_GPU", jobs)
    with pytest.raises(InputError, match=rf"^LOSSPATTERNS_JOBS_PER_GPU: found '{jobs}', expected .*: 1 or more$"):
        devices.claim_device()


def test_what_is_sent_to_a_gpu_is_pinned_and_not_waited_for() -> None:
    """A copy from ordinary memory would make the host wait until the device has done all that it was asked for."""
    told = []

    class Pinnable:
        def pin_memory(self) -> "Pinnable":
            told.append("pinned")
            return self

        def to(self, device: torch.device, non_blocking: bool = False) -> str:
            told.append((device.type, non_blocking))
            return "there"

    assert send(Pinnable(), torch.device("cuda")) == "there"
    assert told == ["pinned", ("cuda", True)]
    values = torch.arange(3)
    assert send(values, torch.device("cpu")) is values


def test_calls_run_together_in_single_threads_and_keep_their_order() -> None:
    barrier = threading.Barrier(3, timeout=60)  # passes only if all three run at the same time

    def call(number: int) -> tuple[int, int]:
        barrier.wait()
        return number, torch.get_num_threads()

    with devices.cpu_threads(2):
        assert devices.together([partial(call, number) for number in range(3)]) == [(0, 1), (1, 1), (2, 1)]
        assert torch.get_num_threads() == 2

    def fail() -> None:
        raise InputError("no such thing")

    with pytest.raises(InputError, match="no such thing"):
        devices.together([lambda: None, fail])
