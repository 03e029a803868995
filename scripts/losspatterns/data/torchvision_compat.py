"""Importing torchvision also where its compiled part does not match the installed torch.

Only torchvision's dataset classes are used here, and they are pure Python. Yet `import torchvision` fails with "operator
torchvision::nms does not exist" when its compiled extension cannot be loaded, such as a CUDA build beside a CPU-only torch.
The one idea: on exactly that failure, declare the missing operators by their signatures and import again.
"""

from __future__ import annotations

from types import ModuleType

from ..errors import InputError

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list = []  # a torch.library.Library withdraws its operators when it is collected, so it is kept here


def import_torchvision() -> ModuleType:
    """Import torchvision and return it; InputError if it is not installed.

    torchvision gives its operators `nms` and `qnms` a shape function on import, which needs them to exist; normally its
    compiled extension has defined them by then. Without the extension the import stops there, so the two are then declared
    (with no implementation: nothing here calls them). A matching pair of torch and torchvision imports at the first attempt.
    """
    try:
        import torchvision
    except ModuleNotFoundError as error:
        if error.name != "torchvision":
            raise
        raise InputError("torchvision: not installed; install it (see envs/) to read or download this dataset") from None
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        import torch

        library = torch.library.Library("torchvision", "FRAGMENT")
        for schema in _SCHEMAS:
            if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
                library.define(schema)
        _declared.append(library)
        import torchvision
    return torchvision
