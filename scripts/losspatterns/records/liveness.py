"""Locks that a killed Snakemake left behind are cleared, so that the same command goes on after a kill.

The one idea: every Snakemake of this project holds a shared lock of the operating system, which no kill leaves behind. Who can
have it exclusively is alone, and Snakemake's own lock files are nobody's.
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import TextIO


def clear_stale_locks(folder: Path) -> TextIO | None:
    """Remove Snakemake's lock files in `folder` (.snakemake) if no other Snakemake of this project is alive there.

    The caller keeps what is returned as long as it lives; None where the file system has no locks, and nothing is removed.
    """
    folder.mkdir(exist_ok=True)
    alive = open(folder / "alive", "a", encoding="utf-8")  # noqa: SIM115
    try:
        fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for file in (folder / "locks").glob("*.lock"):
            file.unlink(missing_ok=True)
    except BlockingIOError:
        pass
    except OSError:
        alive.close()
        return None
    fcntl.flock(alive, fcntl.LOCK_SH)
    return alive
