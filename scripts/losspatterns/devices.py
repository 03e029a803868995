"""Where to compute, and with how many threads."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from .errors import InputError

T = TypeVar("T")

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def best_device() -> torch.device:
    """CUDA where there is a device, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_label(device: torch.device) -> str:
    """What provenance says of a device: `cpu`, or the product's name of a GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@contextlib.contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Use `count` CPU threads for a while: a result must not depend on how many cores happen to be free."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep_freed_memory() -> None:
    """Let glibc keep what is freed instead of handing it back: every update would have it mapped and zeroed again, at up to a
    third of its time. For programs that train or evaluate and then end; without effect under another C library."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
        mallopt(option, 2**30)


def out_of_memory(error: RuntimeError) -> bool:
    """Whether torch ran out of memory, on any device."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error)


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
