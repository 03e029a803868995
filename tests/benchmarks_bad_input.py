"""Wrong values below `benchmarks` that only its own checks see: (path, value, the line that tells it), for smoke's config."""

from __future__ import annotations

from typing import Any

_RUN = "benchmarks/quality/runs/0"

BAD_BENCHMARKS: list[tuple[str, Any, str]] = [
    ("benchmarks/throughput/networks", ["resnet"], r"benchmarks\.throughput\.networks\[0\]: 'resnet' is of kind resnet"),
    ("benchmarks/throughput/networks", ["con"], r"benchmarks\.throughput\.networks\[0\]: 'con' is not in networks; known"),
    ("benchmarks/throughput/image_shape", [1, 1, 28], r"networks\.conv: images of 1 x 28 are too small for 1 pools"),
    ("benchmarks/quality/dataset", "svhn", r"benchmarks\.quality\.dataset: 'svhn' is not in datasets; known"),
    (f"{_RUN}/masks", ["hart"], r"benchmarks\.quality\.runs\[0\]\.masks\[0\]: 'hart' is not in masks; known"),
    (f"{_RUN}/network", "con", r"benchmarks\.quality\.runs\[0\]\.network: 'con' is not in networks; known"),
    (f"{_RUN}/variants/fast/recipe", "fas", r"variants\.fast\.recipe: 'fas' is not in recipes; known"),
    (f"{_RUN}/variants/fast/training/tauu", 1, r"variants\.fast\.training\.tauu: unknown key; allowed are"),
    (f"{_RUN}/variants/fast/training/updates", 5, r"variants\.fast\.training\.updates: follows from .*passes"),
]
