"""Unfinished work on disk: what lets a killed job go on as if nothing had happened.

A job saves its state by time and when it is asked to stop (SIGTERM, SIGINT). A saved state counts only for the very job that
wrote it: its fingerprint covers all that decides the result. Snakemake may refuse a finished result and delete it. So the state
stays until Snakemake has accepted the result; then the workflow clears it. Tensors come back with their strides, because the
order of summation, hence the last bit, depends on the layout of memory.
"""

import json
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self, TextIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import InputError, Stopped
from .artifacts import atomic_path, checksum, take_lock, unfinished
from .liveness import identity, start_time

TENSOR = "tensor"  # the key of a dict that stands for a tensor in the tree's JSON


def fingerprint(**facts: Any) -> str:
    """SHA-256 (hex) of everything that decides a job's result, as JSON."""
    return checksum(json.dumps(facts, sort_keys=True).encode())


def flatten(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """`tree` (dicts, lists, tuples, tensors, JSON scalars) with every tensor replaced by its name, strides and shape.

    The tensors' numbers go into `tensors`, one-dimensional and in the order of memory. Dicts become lists of pairs, so that
    keys that are numbers stay numbers; tuples become lists.
    """
    if isinstance(tree, Tensor):
        tree = tree.detach()
        if not torch.ops.aten.is_non_overlapping_and_dense(tree):  # its numbers are no stretch of memory, in whatever order
            tree = tree.contiguous()
        name = f"{len(tensors):04d}"
        tensors[name] = tree.as_strided((tree.numel(),), (1,)).to("cpu", copy=True)
        return {TENSOR: name, "shape": list(tree.shape), "strides": list(tree.stride())}
    if isinstance(tree, dict):
        return {"pairs": [[key, flatten(value, tensors)] for key, value in tree.items()]}
    if isinstance(tree, list | tuple):
        return [flatten(value, tensors) for value in tree]
    return tree


def unflatten(plan: Any, tensors: dict[str, Tensor]) -> Any:
    """The tree that `flatten` took apart."""
    if isinstance(plan, list):
        return [unflatten(value, tensors) for value in plan]
    if not isinstance(plan, dict):
        return plan
    if TENSOR in plan:
        flat = tensors[plan[TENSOR]]
        tensor = torch.empty_strided(plan["shape"], plan["strides"], dtype=flat.dtype)
        tensor.as_strided((tensor.numel(),), (1,)).copy_(flat)
        return tensor
    return {key: unflatten(value, tensors) for key, value in plan["pairs"]}


class StateFile:
    """A job's state in one file, for use as a context: within it, no other process works on the same state.

    `path` is replaced atomically, at most every `every` seconds or when the process is asked to stop; `fingerprint` tells whose
    it is. `seconds` counts what saving took.
    """

    def __init__(self, path: str | Path, fingerprint: str, every: float) -> None:
        self.path, self.fingerprint, self.every = Path(path), fingerprint, every
        self.seconds, self.saved = 0.0, 0
        self._lock_path = self.path.with_suffix(".lock")
        self._signal, self._last = 0, time.monotonic()

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = self._take_lock()
        unfinished(self.path).unlink(missing_ok=True)  # what a save that was killed left behind
        self._handlers = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._lock_path.unlink(missing_ok=True)
        self._lock.close()

    def _take_lock(self) -> TextIO:
        """Wait until no other process works on this state. One on this machine, left behind by a killed Snakemake, is asked to
        stop: it saves what it has, and the work goes on here."""
        asked = False
        while not (lock := take_lock(self._lock_path)):
            with suppress(FileNotFoundError):
                asked = asked or self._ask_to_stop(*self._lock_path.read_text(encoding="utf-8").split())
            time.sleep(0.1)
        lock.truncate(0)
        lock.write(" ".join(identity()))
        lock.flush()
        return lock

    def _ask_to_stop(self, host: str = "", process: str = "", started: str = "unknown") -> bool:
        """Ask the process that holds the lock, if it is of this machine; whether the lock names one."""
        if process:
            print(f"{self.path}: process {process} on {host} is still at work on it; waiting for it", file=sys.stderr)
            if host == socket.gethostname() and started == start_time(process):  # not one that was given its number since
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(int(process), signal.SIGTERM)
        return bool(process)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._signal = number

    @property
    def due(self) -> bool:
        """Whether to save now."""
        return bool(self._signal) or time.monotonic() - self._last >= self.every

    def save(self, tree: Any) -> None:
        """Replace the file by `tree` (see `flatten`). Raises Stopped afterwards if the process was asked to stop."""
        started = time.perf_counter()
        tensors: dict[str, Tensor] = {}
        plan = json.dumps(flatten(tree, tensors))
        metadata = {"fingerprint": self.fingerprint, "plan": plan, "checksum": _checksum(self.fingerprint, plan, tensors)}
        with atomic_path(self.path) as temporary, open(temporary, "wb") as file:
            file.write(save(tensors, metadata))
            file.flush()
            os.fsync(file.fileno())
        self._last = time.monotonic()
        self.seconds += time.perf_counter() - started
        self.saved += 1
        if self._signal:
            name = signal.Signals(self._signal).name
            raise Stopped(f"{name}: the work so far is in {self.path}; run again to go on", 128 + self._signal)

    def load(self) -> Any | None:
        """The saved tree, or None if there is none. A damaged one or another job's is set aside, with a line on stderr."""
        try:
            with safe_open(str(self.path), framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}
            if metadata.get("checksum") != _checksum(metadata["fingerprint"], metadata["plan"], tensors):
                raise InputError("its checksum is wrong")
            if metadata["fingerprint"] != self.fingerprint:
                raise InputError("it belongs to other settings, data, code or package versions")
            print(f"{self.path}: unfinished work; this run goes on from there", file=sys.stderr)
            return unflatten(json.loads(metadata["plan"]), tensors)
        except FileNotFoundError:
            return None
        except (SafetensorError, KeyError, InputError) as error:
            aside = self.path.with_suffix(".set-aside")
            os.replace(self.path, aside)
            reason = f"no entry {error}" if isinstance(error, KeyError) else error
            print(f"warning: {self.path}: not used ({reason}); it is now {aside.name}, the run starts over", file=sys.stderr)
            return None

    def delete(self) -> None:
        """Forget the work: it came to nothing that could be used."""
        self.path.unlink(missing_ok=True)


def _checksum(fingerprint: str, plan: str, tensors: dict[str, Tensor]) -> str:
    """SHA-256 (hex) over all that a state file holds."""
    return checksum(fingerprint.encode(), plan.encode(), *(tensor.numpy() for _, tensor in sorted(tensors.items())))
