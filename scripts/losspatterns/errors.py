"""The one exception that a user is meant to read.

Every check of user input raises `InputError` with one line: the key or file, what was found, what would be right. The scripts
print that line instead of a stack trace; anything else that is raised is a defect of ours and keeps its trace.
"""

from __future__ import annotations

import sys
from collections.abc import Callable


class InputError(ValueError):
    """Bad input; the message is one line that names the key or file, what was found and what would be right."""


class Stopped(Exception):
    """A signal asked the process to stop and its work is saved; the message says how to go on, `status` is the exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def run_script(main: Callable[[], None]) -> None:
    """Run a script's `main`; an `InputError`, or an `OSError` such as a full disk, ends it with one line and exit status 1.

    `Stopped` ends it with one line and its own status."""
    try:
        main()
    except Stopped as stopped:
        print(f"stopped by {stopped}", file=sys.stderr)
        sys.exit(stopped.status)
    except InputError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.filename or 'input/output'}: {error.strerror or error}")
