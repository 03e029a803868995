"""Fixtures that several test files share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Two test runs must do the same arithmetic, whatever the machine."""
    torch.set_num_threads(1)


@pytest.fixture
def root() -> Path:
    """The repository's top folder."""
    return ROOT
