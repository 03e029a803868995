"""Snakemake without its start, which takes longer than a dry run: a process that has imported Snakemake forks for each run.

Reads one request a line from stdin, as JSON: the folder, Snakemake's arguments, the environment, and the file for the output.
Answers with the exit status. Code of the project is imported by each child anew, from the folder.
"""

from __future__ import annotations

import json
import os
import sys

import matplotlib.ft2font  # noqa: F401  what a Snakefile imports, to have it too
import numpy  # noqa: F401
import pydantic  # noqa: F401
import snakemake.cli


def become(folder: str, arguments: list[str], environment: dict[str, str], output: str) -> None:
    """Turn this process into `python -m snakemake`."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[0] = folder
    sys.argv[1:] = arguments
    snakemake.cli.main()


if __name__ == "__main__":
    snakemake.cli.get_argument_parser()  # imports the plugins
    for line in sys.stdin:
        child = os.fork()
        if not child:
            become(**json.loads(line))
            sys.exit()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
