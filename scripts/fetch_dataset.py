"""Get one data set from the first of its sources that is available, as one .npz file.

By hand: python scripts/fetch_dataset.py --name fashion_mnist --output fashion_mnist.npz \
    --spec '{"kind": "FashionMNIST", "sources": [{"mirror": ["/usr/share/datasets/fashion-mnist"]}, "bundled"]}'
"""

import argparse

from losspatterns.config.reading import from_json, read
from losspatterns.data.dataset_file import save_dataset
from losspatterns.data.datasets import fetch
from losspatterns.data.settings import DatasetSettings
from losspatterns.errors import run_script


def main() -> None:
    parser = argparse.ArgumentParser(description="Get one data set.")
    parser.add_argument("--name", required=True, help="the data set's name: its key under `datasets` in the config")
    parser.add_argument("--spec", required=True, help="the data set's config entry, as JSON")
    parser.add_argument("--output", required=True, help="the data set to write, .npz")
    arguments = parser.parse_args()
    settings = read(DatasetSettings, f"datasets.{arguments.name}", from_json("--spec", arguments.spec))
    save_dataset(arguments.output, fetch(arguments.name, settings))


if __name__ == "__main__":
    run_script(main)
