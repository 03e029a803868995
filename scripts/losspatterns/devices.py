"""Where to compute, and with how many threads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


def best_device() -> torch.device:
    """CUDA where there is a device, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextlib.contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Use `count` CPU threads for a while: a result must not depend on how many cores happen to be free."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
