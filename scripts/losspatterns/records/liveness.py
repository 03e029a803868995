"""Who is alive: locks that a killed Snakemake left behind are cleared, so that the same command goes on after a kill.

The one idea: every Snakemake of this project leaves a record in .snakemake/living that says on which machine it runs, and holds
a lock of the operating system on it, which ends with the process. On the same machine that lock proves life or death. What
another machine holds cannot be known here: its mount may not pass locks on. So Snakemake's own lock files are removed only if
all that are recorded are known to have ended.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import socket
import sys
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TextIO


def start_time(process: str) -> str | None:
    """When a process of this machine started, in clock ticks since the boot; None if that cannot be known, or there is none."""
    try:
        fields = (Path("/proc") / str(int(process)) / "stat").read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return None
    return fields.rpartition(")")[2].split()[19]


def identity() -> list[str]:
    """Host, number and start time of this process: a number alone is given anew."""
    process = str(os.getpid())
    return [socket.gethostname(), process, start_time(process) or "unknown"]


def machine() -> list[str]:
    """Host name, the machine's number, and a number that it draws at each boot."""
    host = socket.gethostname()
    number = _first_word("/etc/machine-id") or f"{uuid.getnode():x}"
    return [host, number, _first_word("/proc/sys/kernel/random/boot_id") or f"{host}-{number}"]


def clear_stale_locks(folder: Path) -> TextIO:
    """Remove Snakemake's lock files in `folder` (.snakemake) if all Snakemakes that are recorded there have ended.

    The caller keeps what is returned as long as it lives. If one on another machine may be alive, or the file system has no
    locks, the files stay, and a line on stderr says how to remove them.
    """
    locks = sorted((folder / "locks").glob("*.lock"))  # before the records: whoever made one of these has its record by now
    living = folder / "living"
    living.mkdir(parents=True, exist_ok=True)
    own = _record(living)
    running, unknown = False, ""
    try:
        fcntl.flock(own, fcntl.LOCK_SH | fcntl.LOCK_NB)
        for file in sorted(living.glob("[!.]*")):
            if file.name != "-".join(identity()):
                ended = _ended(file)
                running |= ended is False
                if ended is None:
                    unknown = f"the Snakemake of {file} may be at work; if it is not: rm {file}; "
    except OSError as error:
        unknown = f"this file system cannot tell who is at work ({error.strerror}); if no Snakemake is: "
    if locks and unknown:
        print(f"{folder}/locks: left as they are: {unknown}snakemake --unlock", file=sys.stderr)
    elif not running:
        for file in locks:
            file.unlink(missing_ok=True)
    return own


def _record(living: Path) -> TextIO:
    """Make this process's record, locked before others can see it, and deleted when the process ends by itself."""
    name = "-".join(identity())
    own = open(living / f".{name}", "w", encoding="utf-8")  # noqa: SIM115
    own.write(" ".join(machine()))
    own.flush()
    with suppress(OSError):  # a file system without locks: whoever looks at the record finds that out too
        fcntl.flock(own, fcntl.LOCK_SH | fcntl.LOCK_NB)
    file = living / name
    os.replace(own.name, file)
    process = os.getpid()
    atexit.register(lambda: file.unlink(missing_ok=True) if os.getpid() == process else None)
    return own


def _ended(file: Path) -> bool | None:
    """Whether the Snakemake with this record has ended; the record goes then. None if that cannot be known.

    OSError if the file system has no locks.
    """
    host, number, boot = machine()
    try:
        with open(file, "r+", encoding="utf-8") as other:
            theirs = other.read().split()
            if theirs[2:] == [boot]:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            elif theirs[:2] != [host, number]:
                return None
            file.unlink(missing_ok=True)  # the same machine, and its lock is free or the machine has booted since
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True


def _first_word(file: str) -> str:
    try:
        return (Path(file).read_text(encoding="utf-8").split() or [""])[0]
    except OSError:
        return ""
