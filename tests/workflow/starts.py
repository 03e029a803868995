"""Snakemake and the scripts of its jobs without their starts, which take most of the time of a small run.

One process has imported Snakemake. It forks for each run. It reads one request a line from stdin, as JSON: the folder, the
arguments, the environment, and the file for the output. It answers with the exit status. Another process has imported what
scripts need, torch above all. It forks for each `python script` of these runs. Each child imports the project's code anew.
"""

import atexit
import json
import os
import runpy
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

# In place of `python`: hands its arguments, environment, folder and open files to the process that forks for scripts.
PYTHON = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [b"."], [0, 1, 2])
    request = {{"arguments": sys.argv[1:], "environment": dict(os.environ), "folder": os.getcwd()}}
    server.sendall(json.dumps(request).encode())
    server.shutdown(socket.SHUT_WR)
    sys.exit(int(server.recv(100)))
"""


def become(folder: str, environment: dict[str, str], arguments: list[str], streams: list[int]) -> None:
    """Let this process be one that was started there, with these."""
    for stream, file in enumerate(streams):
        os.dup2(file, stream)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = arguments


def end(program: Callable[[], object]) -> NoReturn:
    """Run a program and end this process as Python does, but leave memory to the system: it would be copied to be cleared."""
    status: object = 0
    try:
        program()
    except SystemExit as left:
        status = left.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    if not isinstance(status, int):
        print(status, file=sys.stderr)
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(status)


def run_script(connection: socket.socket) -> int:
    """Fork for the script that is asked for, and wait; its exit status."""
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    with connection.makefile() as request:
        asked = json.load(request)
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    become(**asked, streams=streams)
    sys.path[0] = str(Path(sys.argv[0]).parent)
    end(lambda: runpy.run_path(sys.argv[0], run_name="__main__"))


def serve_scripts(listener: socket.socket, parent: int) -> None:
    """Fork for each script that asks, until the other end of the pipe `parent` is closed."""
    import numba  # noqa: F401
    import pydantic  # noqa: F401
    import safetensors.torch  # noqa: F401
    import scipy.linalg  # noqa: F401
    import tqdm  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while parent not in select.select([listener, parent], [], [])[0]:
        connection, _ = listener.accept()
        if not os.fork():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            connection.send(str(run_script(connection)).encode())
            os._exit(0)
        connection.close()


def serve_runs(python: str) -> None:
    """Fork for each run of Snakemake that stdin asks for."""
    import matplotlib.ft2font  # noqa: F401  what a Snakefile imports, to have it too
    import numpy  # noqa: F401
    import pydantic  # noqa: F401
    import smart_open  # noqa: F401
    import snakemake.cli

    snakemake.cli.get_argument_parser()  # imports the plugins
    for line in sys.stdin:
        child = os.fork()
        if not child:
            request = json.loads(line)
            output = os.open(request.pop("output"), os.O_WRONLY | os.O_TRUNC)
            become(**request, streams=[os.open(os.devnull, os.O_RDONLY), output, output])
            sys.path[0], sys.executable = os.getcwd(), python
            end(snakemake.cli.main)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def main(folder: Path) -> None:
    """Put `python` and its socket into a folder, which is there for it, and serve until stdin ends."""
    parent, held = os.pipe()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address := str(folder / "socket"))
    listener.listen()
    if not os.fork():
        os.close(held)
        serve_scripts(listener, parent)
        return
    python = folder / "python"
    python.write_text(PYTHON.format(python=sys.executable, address=address), encoding="utf-8")
    python.chmod(0o755)
    serve_runs(str(python))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
