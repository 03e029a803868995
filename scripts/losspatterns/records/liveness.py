"""Who is alive: locks that a killed Snakemake left behind are cleared, so that the same command goes on after a kill.

The one idea: .snakemake/living has a file for each boot of each machine, and every Snakemake that lives there holds a lock of
the operating system on it, which ends with the process. On the same machine that lock proves life or death. What another
machine holds cannot be known here: its mount may not pass locks on. So Snakemake's own lock files are removed only if all that
are recorded are known to have ended.
"""

import atexit
import fcntl
import os
import socket
import sys
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from ..errors import InputError

LATE = 1.0  # seconds in the future that a date may be


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


def machine() -> tuple[str, str]:
    """What names this machine: host and number; and a number that it draws at each boot."""

    def first_word(file: str) -> str:
        with suppress(OSError):
            return (Path(file).read_text(encoding="utf-8").split() or [""])[0]
        return ""

    name = f"{socket.gethostname()} {first_word('/etc/machine-id') or f'{uuid.getnode():x}'}"
    return name, first_word("/proc/sys/kernel/random/boot_id") or name.replace(" ", "-")


def clear_stale_locks(folder: Path) -> TextIO:
    """Remove Snakemake's lock files in `folder` (.snakemake) if all Snakemakes that are recorded there have ended.

    The caller keeps what is returned as long as it lives. If one on another machine may be alive, or the file system has no
    locks, the files stay, and a line on stderr says how to remove them.
    """
    locks = sorted((folder / "locks").glob("*.lock"))  # before the records: whoever made one of these has its record by now
    living, (name, boot), unknown = folder / "living", machine(), ""
    living.mkdir(parents=True, exist_ok=True)
    own = open(living / boot, "a", encoding="utf-8")  # noqa: SIM115
    for file in sorted(set(living.iterdir()) - {living / boot}):
        with suppress(FileNotFoundError):
            found = file.read_text(encoding="utf-8", errors="replace")
            if found.partition("\n")[0] == name:
                file.unlink()  # this machine has booted since
            elif found:
                unknown = f"the Snakemake of {file} may be at work; if it is not: rm {file}; "
    alone = False
    try:
        with suppress(BlockingIOError):
            fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        fcntl.flock(own, fcntl.LOCK_SH)
    except OSError as error:
        unknown = f"this file system cannot tell who is at work ({error.strerror}); if no Snakemake is: "
    if not own.tell():  # in a file that is added to: its size
        own.write(f"{name}\n")
        own.flush()
    atexit.register(_end, own, os.getpid())
    if locks and unknown:
        print(f"{folder}/locks: left as they are: {unknown}snakemake --unlock", file=sys.stderr)
    elif alone:
        for file in locks:
            file.unlink(missing_ok=True)
    return own


def end_future(files: Iterable[str], ours: Iterable[str]) -> None:
    """Date those of these files that are dated in the future, and lie in one of the folders `ours`, now.

    Snakemake throws away what is made from a file of a later date, at the end of the job. A clock that was wrong, or a copy,
    leaves such dates. InputError for a file of the user's.
    """
    now = time.time()
    for file in sorted(files):
        with suppress(FileNotFoundError):
            if (date := os.stat(file).st_mtime) > now + LATE:
                told = f"{file}: is dated {time.strftime('%Y-%m-%d %H:%M', time.localtime(date))}, in the future"
                if not file.startswith(tuple(f"{folder}/" for folder in ours)):
                    raise InputError(f"{told}: Snakemake would throw away what is made from it; touch {file}, or set the clock")
                print(f"{told}; now it is dated today", file=sys.stderr)
                os.utime(file)


def _end(own: TextIO, process: int) -> None:
    """The last Snakemake of this machine that ends by itself leaves an empty record."""
    if os.getpid() == process and not own.closed:
        with suppress(OSError):
            fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
            own.truncate(0)
