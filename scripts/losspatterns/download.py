"""Downloading one file, so that it is either there and right, or not there at all.

The one idea: two kinds of failure are kept apart. A server that cannot be reached is `Unavailable`, and the caller may look
elsewhere; a file that arrives with a wrong checksum is an `InputError` at once, because looking elsewhere would hide it.
"""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from pathlib import Path

from .artifacts import atomic_path
from .errors import InputError

_CHUNK = 1 << 18  # bytes
_BUSY = (429, 500, 502, 503, 504)  # HTTP answers that ask to come back later


class Unavailable(Exception):
    """A source of data that is not there (no such folder, no network); the message says why, in half a line."""


def file_md5(path: str | Path) -> str:
    """MD5 (hex) of a file's bytes: the checksum that the data sets' publishers list."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _transfer(url: str, path: Path, timeout: float) -> None:
    """Copy what `url` serves to `path`. ConnectionError if the server closes the connection before the announced end."""
    request = urllib.request.Request(url, headers={"User-Agent": "loss-patterns"})
    with urllib.request.urlopen(request, timeout=timeout) as answer, open(path, "wb") as file:
        announced = answer.headers.get("Content-Length")
        while chunk := answer.read(_CHUNK):
            file.write(chunk)
        if announced is not None and file.tell() != int(announced):
            raise ConnectionError(f"the connection closed after {file.tell()} of {announced} bytes")


def _reason(error: BaseException) -> str:
    """The reason of a network error in a few words."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP status {error.code}"
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return "timed out"
    return str(getattr(reason, "strerror", None) or reason) or type(error).__name__


def download_file(url: str, path: str | Path, md5: str, timeout: float = 15.0, retries: int = 2) -> None:
    """Download `url` to `path`, which appears only whole and with the checksum `md5`.

    `timeout` is in seconds, for connecting and for each read. A transfer that breaks off, or a server that says it is busy, is
    tried again up to `retries` times after 1, 2, 4, ... seconds; a server that cannot be reached is not, so that working
    offline costs one failed connection.
    Raises Unavailable if there is no whole file in the end, InputError if its checksum is wrong.
    """
    with atomic_path(path) as temporary:
        for attempt in range(retries + 1):
            try:
                _transfer(url, temporary, timeout)
                break
            except urllib.error.HTTPError as error:
                again, failure = error.code in _BUSY, error
            except urllib.error.URLError as error:  # never connected
                again, failure = False, error
            except (OSError, http.client.HTTPException) as error:
                if isinstance(error, OSError) and error.filename is not None:  # our own disk, not the network
                    raise
                again, failure = True, error
            if not again or attempt == retries:
                raise Unavailable(f"{url}: {_reason(failure)}") from None
            time.sleep(2.0**attempt)
        found = file_md5(temporary)
        if found != md5:
            with open(temporary, "rb") as file:
                html = file.read(256).lstrip()[:1] == b"<"
            what = "an HTML page, not the file" if html else "a different file"
            raise InputError(f"{url}: served {what} (md5 {found}, expected {md5}); nothing was kept")
