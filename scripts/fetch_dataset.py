"""Get one data set from the first of its sources that is available, as one .npz file.

By hand: python scripts/fetch_dataset.py --name fashion_mnist --output fashion_mnist.npz \
    --spec '{"kind": "FashionMNIST", "sources": [{"mirror": ["/usr/share/datasets/fashion-mnist"]}, "bundled"]}'
"""

from __future__ import annotations

import argparse
import json

from losspatterns.data.dataset_file import save_dataset
from losspatterns.data.datasets import DatasetSpec, fetch
from losspatterns.errors import InputError, run_script


def main() -> None:
    parser = argparse.ArgumentParser(description="Get one data set.")
    parser.add_argument("--name", required=True, help="the data set's name: its key under `datasets` in the config")
    parser.add_argument("--spec", required=True, help="the data set's config entry, as JSON")
    parser.add_argument("--output", required=True, help="the data set to write, .npz")
    arguments = parser.parse_args()
    if not arguments.output.endswith(".npz"):
        raise InputError(f"--output: found {arguments.output!r}, expected a name that ends in .npz")
    try:
        entry = json.loads(arguments.spec)
    except json.JSONDecodeError as error:
        raise InputError(f"--spec: not JSON ({error.msg} at character {error.pos})") from None
    save_dataset(arguments.output, fetch(DatasetSpec.from_dict(arguments.name, entry)))


if __name__ == "__main__":
    run_script(main)
