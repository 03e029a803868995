"""Fixtures that several test files share."""

from pathlib import Path

import pytest
import torch
from losspatterns.records import artifacts

ROOT = Path(__file__).parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first, so that all of pytest's workers are busy to the end; before them Slurm, which mostly waits."""
    items.sort(key=lambda item: (item.path.stem != "test_slurm", "workflow" not in item.path.parts))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Two test runs must do the same arithmetic, whatever the machine."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="module")
def nothing_read_before() -> None:
    """A script counts what its process reads; a file of tests does not count what the files before it read."""
    artifacts._inputs.clear()


@pytest.fixture
def root() -> Path:
    """The repository's top folder."""
    return ROOT
