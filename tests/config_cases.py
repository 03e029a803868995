"""Configs to try, made by hypothesis: the shipped ones with keys spoiled, and ones that are valid by construction."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from hypothesis import strategies as st
from losspatterns.config import FIGURES, Config, check_schema
from losspatterns.data.datasets import DatasetSpec
from losspatterns.data.masks import MaskSpec
from losspatterns.figures.fill_probability import read_studies
from losspatterns.figures.inputs import read_options
from losspatterns.quality import within_budget
from losspatterns.specs import NetworkSpec, ProbeSpec, TrainingSpec, as_config, parse, recorded_network

ROOT = Path(__file__).parents[1]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
SHIPPED = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in sorted((ROOT / "config").glob("*.yaml"))]
WILDCARDS = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")  # what common.smk allows, between slashes
MODULE = ROOT / "tests/user_networks/networks.py"

# ----------------------------------------------------------------------------------------------- what a dry run does


def built(raw: Any) -> Config:
    """All that the workflow computes from a config before it runs a job, and that the jobs' scripts can read what they get.

    InputError for a wrong config; an AssertionError or anything else is a defect.
    """
    check_schema(raw, SCHEMA)
    config = Config(raw)
    config.picture_files()
    config.module_files()
    texts = {}
    for name in config.datasets:
        assert all(Path(path).exists() for path in config.image_folders(name))
        texts["dataset", name] = json.dumps(raw["datasets"][name], sort_keys=True)
        assert DatasetSpec.from_dict(name, json.loads(texts["dataset", name])) == config.datasets[name]
    for name in config.masks:
        entry = json.loads(config.mask_json(name))
        assert MaskSpec.from_dict(entry.pop("name"), entry) == config.masks[name]
    for path, run in config.runs.items():
        assert WILDCARDS.fullmatch(path) and path == run.path
        texts["training", path], texts["surface", path] = run.training_json(), run.surface_json(padding=0, oversampling=1)
        spec = json.loads(texts["training", path])
        del spec["training"]["recipe"]
        assert parse(TrainingSpec, "training", spec["training"]) == run.training
        assert recorded_network(spec["network"]) == run.network_spec
    for path, run in config.quality_runs.items():
        assert WILDCARDS.fullmatch(path) and path == run.path
        texts["quality", path] = run.json()
        spec = json.loads(texts["quality", path])
        training = as_config(within_budget(spec["training"], spec["passes"], np.ones((9, 9), np.int8)))
        assert training.pop("updates") >= 1 and training == run.training and spec["passes"] == run.passes
        assert parse(ProbeSpec, "probe", spec["probe"]) == run.probe
    for figure in FIGURES:
        texts["figure", figure] = config.figure_options(figure)
        if figure == FIGURES[5]:
            read_studies(texts["figure", figure])
        else:
            read_options(texts["figure", figure], allowed=("loss_range",))
            assert config.surfaces_of(figure)
    for part in ("throughput", "surfaces"):
        texts["speed", part] = config.speed_json(part, recipes=raw["recipes"])
        for name, entry in json.loads(texts["speed", part])["networks"].items():
            assert parse(NetworkSpec, name, entry) == config.networks[name]
    texts["study"], texts["labels"] = json.dumps(config.studies()), json.dumps(config.variant_labels())
    for text in texts.values():
        assert "\n" not in text and not re.search(r"\b(NaN|Infinity)\b", re.sub(r'"(\\.|[^"\\])*"', "", text))
    return config


# -------------------------------------------------------------------------------------------------- spoiled configs

_NAMES = st.sampled_from(["conv", "heart", "corner", "fast", "paper", "fashion_mnist", "nowhere", "resnet", "batch", "glyph"])
_NUMBERS = st.sampled_from(
    [0, -1, 1, 2, 1.0, 2.0, 0.5, -0.0, 1e-300, 1e308, float("nan"), float("inf"), -float("inf"), 2**31, 2**63, 2**64, 10**30]
    + [10**400, -(10**400)]
)
_TEXTS = st.one_of(
    st.sampled_from(
        [
            "",
            " ",
            "-",
            "-x",
            "a b",
            "a/b",
            "../x",
            "~",
            "~nobody-such/x.png",
            "~nobody-such/x.py:Net",
            "{x}",
            "{{",
            "a\nb",
            "a\0b",
        ]
        + ["1e-3", "null", "♥", "ü", "木", "\u2028", "\x1b[31m", "\ud800", "x" * 300, "x" * 5000, "/dev/null", "/", "smoke\n"]
        + ["$(touch x)", "`touch x`", "'; touch x; '", f"{MODULE}:Net", f"{MODULE}", "no/such.py:Net", "\0.py:N", "auto", "all"]
    ),
    st.text(max_size=8),
)
_SCALARS = st.one_of(st.none(), st.booleans(), _NUMBERS, st.integers(), st.floats(), _NAMES, _TEXTS)
_KEYS = st.one_of(_NAMES, _TEXTS, st.none(), st.booleans(), st.integers(-2, 5), st.dates())
_VALUES = st.recursive(
    st.one_of(_SCALARS, st.dates()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=3)),
    max_leaves=6,
)


def _places(entry: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a nested config, outer ones first."""
    found, waiting = [], [entry]
    while waiting:
        container = waiting.pop(0)
        pairs = container.items() if isinstance(container, dict) else enumerate(container)
        for key, value in pairs:
            found.append((container, key))
            if isinstance(value, dict | list):
                waiting.append(value)
    return found


@st.composite
def spoiled(draw: st.DrawFn) -> Any:
    """A shipped config after one to three random edits: it may still be valid."""
    raw = copy.deepcopy(draw(st.sampled_from(SHIPPED)))
    for _ in range(draw(st.integers(1, 3))):
        places = _places(raw)
        if not places:
            break
        container, key = places[draw(st.integers(0, len(places) - 1))]
        value = container[key]
        edit = draw(
            st.sampled_from(
                ["delete", "junk", "scalar", "number", "empty", "negative", "repeat", "rename", "add", "swap", "wrap"]
            )
        )
        if edit == "delete":
            del container[key]
        elif edit == "junk":
            container[key] = draw(_VALUES)
        elif edit == "scalar":
            container[key] = draw(_SCALARS)
        elif edit == "number":
            container[key] = draw(_NUMBERS)
        elif edit == "empty":
            container[key] = draw(st.sampled_from([[], {}, "", None]))
        elif edit == "negative":
            container[key] = -value if isinstance(value, int | float) else [value]
        elif edit == "repeat":
            if isinstance(value, list):
                container[key] = value + value
            elif isinstance(container, list):
                container.append(copy.deepcopy(value))
            else:
                container[f"{key}_again"] = copy.deepcopy(value)
        elif edit == "rename":
            if isinstance(container, dict):
                container[draw(_KEYS)] = container.pop(key)
        elif edit == "add":
            if isinstance(value, dict):
                value[draw(_KEYS)] = draw(_VALUES)
            elif isinstance(value, list):
                value.append(draw(_VALUES))
        elif edit == "swap":
            other, place = places[draw(st.integers(0, len(places) - 1))]
            container[key] = copy.deepcopy(other[place])
        else:
            container[key] = [[value]] if draw(st.booleans()) else {"kind": value}
    return raw


# --------------------------------------------------------------------------------------------------- valid configs

_NAME = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,20}", fullmatch=True)
_SIDE = st.integers(5, 40)
_FRACTION = st.floats(0, 1)
_SEEDS = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3, unique=True)
_SQUARE = st.fixed_dictionaries(
    {
        "kind": st.just("random_square"),
        "size": st.tuples(_SIDE, _SIDE).map(list),
        "probability": _FRACTION,
        "seed": st.integers(0),
    }
)
_LOOKS = {"threshold": _FRACTION, "invert": st.booleans(), "margin": st.floats(0, 0.49), "ternary": st.booleans()}
_MASK = st.one_of(
    _SQUARE,
    st.fixed_dictionaries(
        {"kind": st.just("glyph"), "character": st.sampled_from("♥♞A★✈"), "size": st.tuples(_SIDE, _SIDE).map(list)},
        optional=_LOOKS,
    ),
    st.fixed_dictionaries(
        {"kind": st.just("text"), "text": st.text("abcÄß 1", min_size=1).filter(str.strip), "size": st.just([9, 30])},
        optional=_LOOKS,
    ),
    st.fixed_dictionaries({"kind": st.just("grid"), "size": st.just([12, 18]), "cells": st.just([2, 3])}),
    st.integers(3, 9).flatmap(
        lambda n: st.fixed_dictionaries(
            {"kind": st.just("ascii"), "rows": st.lists(st.text("#.", min_size=n, max_size=n), min_size=3, max_size=9)}
        )
    ),
)
_WIDTHS = st.lists(st.integers(1, 64), min_size=1, max_size=3)
_CONV = st.fixed_dictionaries(
    {"kind": st.just("conv"), "channels": _WIDTHS},
    optional={
        "dense": st.lists(st.integers(1, 99), max_size=3),
        "batch_norm": st.booleans(),
        "residual": st.booleans(),
        "activation": st.sampled_from(["relu", "gelu", "tanh"]),
    },
)
_NETWORK = st.one_of(
    _CONV,
    st.fixed_dictionaries({"kind": st.just("resnet"), "channels": _WIDTHS}, optional={"blocks": st.integers(1, 3)}),
    st.fixed_dictionaries(
        {"kind": st.just("module"), "module": st.just(f"{MODULE}:Net")},
        optional={"arguments": st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), st.text(max_size=5), max_size=2)},
    ),
)
_TRAINING = st.fixed_dictionaries(
    {},
    optional={
        "updates": st.integers(1, 10**6),
        "tau": st.one_of(st.floats(1e-3, 100), st.integers(1, 9)),
        "total_clip": st.one_of(st.none(), st.floats(0.1, 1e6)),
        "pixels_per_chunk": st.one_of(st.none(), st.integers(1, 99)),
        "optimizer": st.sampled_from(["adam", "soap"]),
        "pixel_sampling": st.sampled_from(["independent", "epochs"]),
        "precision": st.sampled_from(["float32", "bfloat16"]),
    },
)
_SURFACE = st.fixed_dictionaries(
    {
        "padding": st.integers(0, 5),
        "oversampling": st.integers(1, 3),
        "images": st.integers(1, 10**6),
        "splits": st.permutations(["train", "test"]).map(list),
        "bn_protocols": st.permutations(["batch", "recalibrated", "identity"]).map(list),
        "calibration_images": st.integers(1, 500),
        "image_seed": st.integers(0, 2**32 - 2),
    }
)
_RANGE = st.one_of(st.just("auto"), st.tuples(st.floats(1e-6, 1), st.floats(1.5, 1e9)).map(list))


@st.composite
def valid(draw: st.DrawFn) -> dict[str, Any]:
    """A config that is valid by construction, with new names, masks, networks, settings, seeds and labels throughout."""
    raw = copy.deepcopy(draw(st.sampled_from(SHIPPED)))
    squares = draw(st.dictionaries(_NAME, _SQUARE, min_size=1, max_size=3))
    pictures = draw(st.dictionaries(_NAME.filter(lambda name: name not in squares), _MASK, min_size=1, max_size=3))
    networks = draw(st.dictionaries(_NAME, _NETWORK, min_size=1, max_size=3))
    stock = draw(_NAME.filter(lambda name: name not in networks))
    fashion, colour, study = draw(st.lists(_NAME, min_size=3, max_size=3, unique=True))
    raw["scale"], raw["masks"] = draw(_NAME), squares | pictures
    raw["networks"] = networks | {stock: draw(_CONV)}
    sources = [
        {"mirror": draw(st.lists(st.text(min_size=1), min_size=1, max_size=2))},
        "download",
        {"image_folder": draw(st.text(min_size=1))},
    ]
    raw["datasets"] = {"grey": {"kind": "FashionMNIST", "sources": [*sources, "bundled"]}}
    raw["datasets"]["colour"] = {"kind": "CIFAR10", "sources": [*sources, {"shapes": {"train": draw(st.integers(10, 99))}}]}
    if draw(st.booleans()):
        size = draw(st.tuples(st.integers(8, 64), st.integers(8, 64)).map(list))
        images = {
            "kind": "images",
            "image_size": size,
            "channels": draw(st.sampled_from([1, 3])),
            "label": draw(st.text(min_size=1)),
        }
        raw["datasets"]["colour"] = images | {"sources": sources[2:]}
    raw["experiments"] = {
        name: {
            "dataset": dataset,
            "networks": draw(st.permutations(list(networks))),
            "seeds": draw(_SEEDS),
            "recipe": draw(st.sampled_from(["paper", "fast"])),
            "training": draw(_TRAINING),
            "surface": draw(_SURFACE),
        }
        for name, dataset in ((fashion, "grey"), (colour, "colour"))
    }
    raw["experiments"][study] = copy.deepcopy(raw["experiments"][fashion]) | {"networks": [stock]}
    protocol = st.sampled_from(["batch", "recalibrated", "identity"])
    raw["figures"] = {
        "fig1_landscapes": {"panels": [{"experiment": fashion, "mask": name} for name in pictures], "loss_range": draw(_RANGE)},
        "fig2_method": {"experiment": fashion, "mask": next(iter(pictures))},
        "fig3_batchnorm": {
            "experiment": study,
            "mask": next(iter(squares)),
            "networks": [stock],
            "bn_protocol": draw(protocol),
        },
        "fig4_fashion_mnist": {"experiment": fashion, "masks": draw(st.permutations(list(pictures)))},
        "fig5_cifar10": {"experiment": colour, "masks": list(pictures), "loss_range": draw(_RANGE)},
        "fig6_fill_probability": {
            "studies": [{"experiment": study, "masks": list(squares)}],
            "bn_protocol": draw(protocol),
            "labels": {stock: draw(_TEXTS)},
        },
    }
    for part in ("throughput", "surfaces"):
        raw["benchmarks"][part]["networks"] = [stock]
    variants = {
        name: {"recipe": "fast", "passes": draw(st.integers(1, 10**12)), "label": draw(_TEXTS)}
        for name in draw(st.lists(_NAME, min_size=1, max_size=3, unique=True))
    }
    run = {"network": draw(st.sampled_from([*networks, stock])), "masks": list(squares), "seeds": draw(_SEEDS)}
    raw["benchmarks"]["quality"] |= {
        "dataset": draw(st.sampled_from(["grey", "colour"])),
        "runs": [run | {"variants": variants}],
    }
    return raw
