"""Downloading one file, so that it is either there and right, or not there at all.

The one idea: two kinds of failure are kept apart. A server that cannot be reached is `Unavailable`, and the caller may look
elsewhere; a file that arrives with a wrong checksum is an `InputError` at once, because looking elsewhere would hide it.
"""

from __future__ import annotations

import hashlib
import http.client
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO

from ..errors import InputError, one_line
from ..records.artifacts import atomic_path

_CHUNK = 1 << 18  # bytes
_SLOWEST = 1 << 10  # bytes a second, over a time-out's length: a server that is slower than that is not there
_LARGEST = 1 << 30  # bytes of a file; the largest published one has 170 MB
_BUSY = (429, 500, 502, 503, 504)  # HTTP answers that ask to come back later


class Unavailable(Exception):
    """A source of data that is not there (no such folder, no network); the message says why, in half a line."""


def require_md5(file: str | Path | BinaryIO, md5: str, where: str | Path, advice: str) -> None:
    """InputError, naming `where` and what to do, if a file has another MD5 (hex) than its publisher lists."""
    with open(file, "rb") if isinstance(file, str | Path) else file as opened:
        found = hashlib.file_digest(opened, "md5").hexdigest()
    if found != md5:
        raise InputError(f"{where}: md5 {found}, expected {md5}; {advice}")


def _reason(error: BaseException) -> str:
    """The reason of a network error in a few words."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP status {error.code}"
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return str(reason) or "timed out"
    return one_line(str(getattr(reason, "strerror", None) or reason)) or type(error).__name__


def _transfer(answer: http.client.HTTPResponse, file: BinaryIO, url: str, timeout: float) -> None:
    """Copy an answer's body. ConnectionError if it ends early, TimeoutError if it trickles, InputError if it does not end."""
    announced, received, before = answer.length, 0, 0
    deadline = time.monotonic() + timeout
    while chunk := answer.read1(_CHUNK):
        file.write(chunk)
        received += len(chunk)
        if received > _LARGEST:
            raise InputError(f"{url}: served more than {_LARGEST >> 20} MiB, expected a smaller file; nothing was kept")
        if time.monotonic() > deadline:
            if received - before < _SLOWEST * timeout:
                raise TimeoutError(f"too slow: {received - before} bytes in {timeout:g} seconds")
            before, deadline = received, time.monotonic() + timeout
    if announced is not None and received != announced:
        raise ConnectionError(f"the connection closed after {received} of {announced} bytes")


def download_file(url: str, path: str | Path, md5: str, timeout: float = 15.0, retries: int = 2) -> None:
    """Download `url` to `path`, which appears only whole and with the checksum `md5`.

    `timeout` is in seconds, for connecting, for each read, and for a kilobyte a second on average. A transfer that breaks off,
    or a server that says it is busy, is tried again up to `retries` times after 1, 2, 4, ... seconds; a server that cannot be
    reached is not, so that working offline costs one failed connection.
    Raises Unavailable if there is no whole file in the end, InputError if its checksum is wrong.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "loss-patterns"})
    for attempt in range(retries + 1):
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer, atomic_path(path) as temporary:
                with open(temporary, "w+b") as file:
                    _transfer(answer, file, url, timeout)
                    file.seek(0)
                    what = "an HTML page, not the file" if file.read(256).lstrip()[:1] == b"<" else "a different file"
                require_md5(temporary, md5, f"{url}: served {what}", "nothing was kept")
            return
        except urllib.error.HTTPError as error:
            again, failure = error.code in _BUSY, error
        except (urllib.error.URLError, UnicodeError) as error:  # never connected; an address that cannot be asked for
            again, failure = False, error
        except (ConnectionError, TimeoutError, ssl.SSLError, http.client.HTTPException) as error:
            again, failure = True, error
        if not again or attempt == retries:
            raise Unavailable(f"{url}: {_reason(failure)}")
        time.sleep(2.0**attempt)
