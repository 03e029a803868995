"""Where to compute, and with how many threads."""

import contextlib
import ctypes
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import product
from pathlib import Path
from typing import TextIO, TypeVar

import torch

from ..errors import InputError, out_of_memory
from ..records.artifacts import take_lock

T = TypeVar("T")

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h


def claim_device() -> torch.device:
    """The device of this process: a CUDA device that no other job on this machine has, else the CPU.

    It waits for a device to become free, and keeps it until the process ends. LOSSPATTERNS_JOBS_PER_GPU lets more than one job
    share it; InputError if that is no number of jobs. The process keeps the memory that it frees, too (`keep_freed_memory`).
    """
    jobs = os.environ.get("LOSSPATTERNS_JOBS_PER_GPU", "1")
    if not (jobs.isdecimal() and int(jobs) > 0):
        raise InputError(f"LOSSPATTERNS_JOBS_PER_GPU: found {jobs!r}, expected how many jobs share a GPU: 1 or more")
    keep_freed_memory()
    if not torch.cuda.is_available():
        return torch.device("cpu")
    # Jobs may see different devices, or the same in another order: what a device is called on the whole machine counts.
    names = [str(torch.cuda.get_device_properties(k).uuid) for k in range(torch.cuda.device_count())]
    folder = Path(tempfile.gettempdir()) / f"losspatterns-devices-{os.getuid()}"
    number, lock = claim(names, folder, int(jobs))
    _held.append(lock)
    torch.cuda.set_device(number)
    torch.backends.cudnn.allow_tf32 = False  # float32 is float32, in convolutions too, as it is on a CPU
    return torch.device("cuda", number)


_held: list[TextIO] = []  # locks of this process; the system lets go of them when it ends, however it ends


def claim(names: Sequence[str], folder: Path, jobs: int = 1, poll: float = 0.5) -> tuple[int, TextIO]:
    """The number of a device that fewer than `jobs` holders have claimed, and the open file that holds the claim.

    `names` are the devices', the same in every process; `folder` holds a lock file per device and job. Waits, looking every
    `poll` seconds, until a device is free; empty devices come first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    told = False
    while True:
        for slot, (number, name) in product(range(jobs), enumerate(names)):
            if lock := take_lock(folder / f"{name}.{slot}.lock"):
                return number, lock
        if not told:
            print(f"all {len(names)} devices are taken; waiting for one", file=sys.stderr)
            told = True
        time.sleep(poll)


def device_label(device: torch.device) -> str:
    """What provenance says of a device: `cpu`, or the product's name of a GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the host on the device. A GPU need not have finished what it is doing: pinned memory is read when it has."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


@contextlib.contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Use `count` CPU threads for a while: a result must not depend on how many cores happen to be free."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def together(calls: Sequence[Callable[[], T]]) -> list[T]:
    """The results of the calls, made at the same time, each in a thread of its own that uses one CPU thread."""
    if len(calls) == 1:
        return [calls[0]()]
    others = [_threads().submit(call) for call in calls[1:]]
    with cpu_threads(1):
        first = calls[0]()
    return [first, *(other.result() for other in others)]


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1024, initializer=_use_one_thread)  # started as they are needed


def _use_one_thread() -> None:
    torch.get_num_threads()  # a thread that first asks later would take what another one has set by then
    torch.set_num_threads(1)


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed, for programs that train or evaluate and then end: it would hand large blocks back, to map
    and zero them again (a surface takes up to 1.8 times as long then, the default scale 13 % longer). False if not glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, 2**30))


def with_less_memory(name: str, run: Callable[[int], T], count: int) -> tuple[T, int]:
    """`run(count)`, and the count it worked with: halved, with a line on stderr, each time memory runs out.

    InputError, naming `name`, if a count of one does not fit either.
    """
    while True:
        try:
            return run(count), count
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            message = str(error).splitlines()[0]
        if count == 1:
            raise InputError(f"{name}: out of memory even for one at a time ({message}); use fewer images or a smaller network")
        count //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        print(f"{name}: out of memory; going on with {count} at a time", file=sys.stderr)
