"""Check an archive that `pack_results.py` wrote, and put its files in place in the current folder."""

import argparse

from losspatterns.errors import run_script
from losspatterns.records.archive import unpack
from losspatterns.records.artifacts import file_checksum
from losspatterns.runs.paths import Files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archive", required=True, help="the archive (.zip)")
    parser.add_argument("--scale", required=True, help="the scale whose results it should hold")
    arguments = parser.parse_args()
    count = unpack(arguments.archive, arguments.scale, Files(arguments.scale).folders)
    print(f"{arguments.archive}: whole, sha256 {file_checksum(arguments.archive)}; {count} new files are in place")


if __name__ == "__main__":
    run_script(main)
