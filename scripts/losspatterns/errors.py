"""The one exception that a user is meant to read.

Every check of user input raises `InputError` with one line: the key or file, what was found, what would be right. The scripts
print that line instead of a stack trace; anything else that is raised is a defect of ours and keeps its trace.
"""

import io
import sys
from collections.abc import Callable

LONGEST = 1000  # characters of a message


def one_line(message: str) -> str:
    """The message with line breaks and other control characters as escapes; if it is long, without its middle."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
    return line if len(line) <= LONGEST else f"{line[: LONGEST * 2 // 3]} ... {line[-LONGEST // 3 :]}"


class InputError(ValueError):
    """Bad input; the message is one line that names the key or file, what was found and what would be right."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def out_of_memory(error: Exception) -> bool:
    """Whether memory ran out: numpy's and Python's own, or torch's on any device."""
    torch_s = type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator: can't allocate memory" in str(error)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and torch_s)


class Stopped(Exception):
    """A signal asked the process to stop and its work is saved; the message says how to go on, `status` is the exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def show_all() -> None:
    """Print what the terminal's encoding lacks as escapes: it is no reason to stop."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def run_script(main: Callable[[], None]) -> None:
    """Run a script's `main`. An `InputError`, an `OSError` such as a full disk, and memory that runs out end it with one line
    and exit status 1, `Stopped` with one line and its own status."""
    show_all()
    try:
        main()
    except Stopped as stopped:
        print(f"stopped by {stopped}", file=sys.stderr)
        sys.exit(stopped.status)
    except InputError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit("error: " + one_line(f"{error.filename or 'input/output'}: {error.strerror or error}"))
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        first = (str(error).splitlines() or [type(error).__name__])[0]
        sys.exit("error: " + one_line(f"out of memory ({first}); use smaller settings, or fewer jobs at once (--cores)"))
