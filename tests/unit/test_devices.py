"""Memory that runs out halves the work at once, in one clear line; nothing else is caught."""

from __future__ import annotations

import pytest
import torch
from losspatterns import training
from losspatterns.devices import keep_freed_memory, with_less_memory
from losspatterns.errors import InputError
from test_training import run


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
    ],
)
def test_the_count_is_halved_until_it_fits(error: RuntimeError, capsys) -> None:
    tried = []

    def work(count: int) -> str:
        tried.append(count)
        if count > 3:
            raise error
        return "done"

    assert with_less_memory("here", work, 13) == ("done", 3)
    assert tried == [13, 6, 3]
    assert capsys.readouterr().err.splitlines() == [
        "here: out of memory; going on with 6 at a time",
        "here: out of memory; going on with 3 at a time",
    ]


def test_a_single_one_that_does_not_fit_is_told_in_one_line() -> None:
    def work(count: int) -> None:
        torch.empty(2**60)

    with pytest.raises(InputError, match=r"^here: out of memory even for one at a time \(.*can't allocate") as caught:
        with_less_memory("here", work, 4)
    assert "\n" not in str(caught.value)


def test_other_errors_pass() -> None:
    def work(count: int) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        with_less_memory("here", work, 4)


def test_training_goes_on_with_smaller_chunks_to_the_same_result(monkeypatch, capsys) -> None:
    whole = run(updates=12, pixels_per_chunk=2).plane
    real, chunks = training.add_plane_gradient, []

    def short_of_memory(*arguments: object) -> object:
        chunks.append(arguments[-1])
        if arguments[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(*arguments)

    monkeypatch.setattr(training, "add_plane_gradient", short_of_memory)
    halved = run(updates=12, pixels_per_chunk=4).plane
    assert chunks == [4, *[2] * 12]
    assert "toy/run: pixels_per_chunk: out of memory; going on with 2 at a time" in capsys.readouterr().err
    for name, tensor in whole.tensors().items():
        assert torch.equal(tensor, halved.tensors()[name]), name


def test_freed_memory_is_kept_without_harm() -> None:
    keep_freed_memory()
    assert torch.ones(2**22).sum() == 2**22
