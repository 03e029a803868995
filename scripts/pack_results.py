"""Pack a scale's results and all that is behind them into one archive, which `unpack_results.py` puts in place elsewhere."""

import argparse

from losspatterns.errors import run_script
from losspatterns.records.archive import pack
from losspatterns.records.artifacts import file_checksum
from losspatterns.runs.paths import Files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", required=True, help="the scale's name")
    parser.add_argument("--artifacts", nargs="+", required=True, help="figures, tables and other results")
    parser.add_argument("--manifest", required=True, help="the manifest of the same (.json)")
    parser.add_argument("--output", required=True, help="output: the archive (.zip)")
    arguments = parser.parse_args()
    count = pack(arguments.output, arguments.scale, Files(arguments.scale).folders, arguments.artifacts, arguments.manifest)
    print(f"{arguments.output}: {count} files, sha256 {file_checksum(arguments.output)}")


if __name__ == "__main__":
    run_script(main)
