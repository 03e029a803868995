"""Importing torchvision also where its compiled part does not match the installed torch.

`import torchvision` fails with "operator torchvision::nms does not exist" when its compiled extension cannot be loaded, such as
a CUDA build beside a CPU-only torch. Its data sets and networks are pure Python and do without.
The one idea: on exactly that failure, declare the missing operators by their signatures and import again.
"""

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import TypeVar

from .errors import InputError

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list = []  # a torch.library.Library withdraws its operators when it is collected, so it is kept here
T = TypeVar("T")


def import_torchvision() -> ModuleType:
    """Import torchvision and return it; InputError if it is not installed."""
    try:
        return with_torchvision(lambda: importlib.import_module("torchvision"))
    except ModuleNotFoundError as error:
        if error.name != "torchvision":
            raise
        raise InputError("torchvision: not installed; install it (see envs/) to read or download this dataset") from None


def with_torchvision(call: Callable[[], T]) -> T:
    """`call()`, which may import torchvision; called again, with torch's random numbers as before, if that import fails so.

    torchvision gives its operators `nms` and `qnms` a shape function on import, which needs them to exist; normally its
    compiled extension has defined them by then. Without the extension the import stops there, so the two are then declared
    (with no implementation: they cannot be called). A matching pair of torch and torchvision imports at the first attempt.
    """
    import torch

    numbers = torch.random.get_rng_state()
    try:
        return call()
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
            library.define(schema)
    _declared.append(library)
    torch.random.set_rng_state(numbers)
    return call()
