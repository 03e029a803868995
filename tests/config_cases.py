"""Configs to try, made by hypothesis: the shipped ones with keys spoiled, and ones that are valid by construction."""

import copy
import json
import re
from pathlib import Path
from typing import Any

from configs import SCALES, layered, runs_of
from hypothesis import strategies as st
from lib.runs import BenchmarkRuns
from lib.settings import Probe
from losspatterns.config.reading import read
from losspatterns.data.mask_settings import parse_mask
from losspatterns.data.settings import DatasetSettings
from losspatterns.method.settings import Recipe, WarmUp
from losspatterns.networks.settings import parse_network
from losspatterns.runs.paths import Files
from losspatterns.runs.planning import Runs

ROOT = Path(__file__).parents[1]

WILDCARDS = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")  # what common.smk allows, between slashes
MODULE = ROOT / "tests/user_networks/networks.py"
OF_RUNS = ("dataset", "mask", "origin", "plane", "history", "surface")  # files whose wildcards a run fills in

# ----------------------------------------------------------------------------------------------- what a dry run does


def built(raw: Any) -> Runs:
    """All that the workflow computes from a config before it runs a job, and that the jobs' scripts can read what they get.

    InputError for a wrong config; an AssertionError or anything else is a defect.
    """
    runs = runs_of(raw)
    settings, files = runs.settings, Files(runs.settings.scale)
    texts = {}
    for name, dataset in settings.datasets.items():
        assert all(Path(path).exists() for path in runs.image_folders(name))
        texts["dataset", name] = runs.dataset_spec(name)
        assert read(DatasetSettings, name, json.loads(texts["dataset", name])) == dataset
    for name, mask in runs.masks.items():
        texts["mask", name] = runs.mask_spec(name)
        assert parse_mask(name, json.loads(texts["mask", name])) == mask
    for path, run in runs.runs.items():
        assert WILDCARDS.fullmatch(path) and path == run.path and runs.run(run.wildcards) is run
        assert runs.origin(run.wildcards).origin_spec() == run.origin_spec()
        origin, training = json.loads(run.origin_spec()), json.loads(run.training_spec())
        assert read(WarmUp, path, origin["warm_up"]) == run.training.of_origin
        assert training["training"].pop("recipe") == run.recipe
        assert read(Recipe, path, training["training"]) == run.training
        assert parse_network(path, training["network"]) == parse_network(path, origin["network"]) == run.network_settings
        texts["origin", path], texts["training", path] = run.origin_spec(), run.training_spec()
        texts["surface", path] = run.surface_spec()
    made = {name: set(runs.every(getattr(files, name))) for name in OF_RUNS}
    for name, figure in runs.figures.items():
        texts["figure", name] = runs.figure_spec(name)
        spec, inputs = json.loads(texts["figure", name]), runs.figure_inputs(name)
        assert read(type(figure.options), name, spec["options"]) == figure.options
        assert [file for file, _, _ in spec["panels"] if file not in inputs["surfaces"]] == []
        assert set(inputs["surfaces"]) <= made["surface"] and inputs["surfaces"] + inputs["scores"]
    assert len(made["plane"]) == len(runs.runs) and len(set(runs.products())) == len(runs.products())
    texts["studies"] = runs.study_spec()
    benchmarks = BenchmarkRuns(runs)
    texts["speed"] = json.dumps(benchmarks.speed)
    for path, run in benchmarks.quality.items():
        assert WILDCARDS.fullmatch(path)
        texts["quality", path] = benchmarks.spec(run)
        spec = json.loads(texts["quality", path])
        assert (
            read(Recipe, path, spec["training"] | {"updates": 1}).model_dump(mode="json", exclude={"updates"})
            == run["training"]
        )
        assert read(Probe, path, spec["probe"]) and parse_network(path, spec["network"]) and spec["passes"] == run["passes"]
    assert len(set(benchmarks.curves())) == len(benchmarks.quality)
    for text in texts.values():
        assert "\n" not in text and not re.search(r"\b(NaN|Infinity)\b", re.sub(r'"(\\.|[^"\\])*"', "", text))
    return runs


# -------------------------------------------------------------------------------------------------- spoiled configs

_NAMES = st.sampled_from(
    ["conv", "heart", "corner", "fast", "paper", "fashion_mnist", "nowhere", "resnet", "batch", "glyph", "batch_norm_study"]
    + ["kind", "pictures", "study"]
)
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
_SHOWN = st.one_of(
    st.sampled_from(["", " ", "-x", "a\nb", "{x}", "$x", "♥", "ü", "x" * 300]),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8),
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
    raw = layered(draw(st.sampled_from(SCALES)))
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

_PATH = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
_NAME = st.text("ABCxyz019_-", min_size=1, max_size=21).filter(lambda name: name[0] != "-")
_SIDE = st.integers(5, 40)
_FRACTION = st.floats(0, 1)
_SEEDS = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3, unique=True)
_LOOKS = {"threshold": _FRACTION, "invert": st.booleans(), "margin": st.floats(0, 0.49), "ternary": st.booleans()}
_MASK = st.one_of(
    st.fixed_dictionaries(
        {
            "kind": st.just("random_square"),
            "size": st.tuples(_SIDE, _SIDE).map(list),
            "probability": _FRACTION,
            "seed": st.integers(0, 2**53),
        }
    ),
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
    raw = layered(draw(st.sampled_from(SCALES)))
    masks = draw(st.dictionaries(_NAME, _MASK, min_size=1, max_size=3))
    networks = draw(st.dictionaries(_NAME, _NETWORK, min_size=1, max_size=3))
    stock = draw(_NAME.filter(lambda name: name not in networks))
    raw["scale"], raw["masks"] = draw(_NAME), masks
    raw["networks"] = networks | {stock: draw(_CONV)}
    sources = [
        {"mirror": draw(st.lists(_PATH, min_size=1, max_size=2, unique=True))},
        "download",
        {"image_folder": draw(_PATH)},
    ]
    raw["datasets"] = {"grey": {"kind": "FashionMNIST", "sources": [*sources, "bundled"]}}
    raw["datasets"]["colour"] = {"kind": "CIFAR10", "sources": [*sources, {"shapes": {"train": draw(st.integers(10, 99))}}]}
    if draw(st.booleans()):
        raw["datasets"]["colour"] = {
            "kind": "images",
            "image_size": draw(st.tuples(st.integers(8, 64), st.integers(8, 64)).map(list)),
            "channels": draw(st.sampled_from([1, 3])),
            "label": draw(_SHOWN.filter(str.strip)),
            "sources": sources[2:],
        }

    def training(dataset: str, names: list[str]) -> dict[str, Any]:
        return {
            "dataset": dataset,
            "networks": names,
            "recipe": draw(st.sampled_from(["paper", "fast"])),
            "training": draw(_TRAINING),
            "surface": draw(_SURFACE),
        }

    fashion, colour = draw(st.lists(_NAME, min_size=2, max_size=2, unique=True))
    raw["experiments"] = {
        name: training(dataset, draw(st.permutations(list(networks)))) | {"seeds": draw(_SEEDS)}
        for name, dataset in ((fashion, "grey"), (colour, "colour"))
    }
    study, off = draw(st.lists(_NAME, min_size=2, max_size=2, unique=True))
    compared = draw(st.permutations([stock, *networks]))
    raw["studies"] = {
        study: training("grey", compared)
        | {
            "size": draw(st.tuples(_SIDE, _SIDE).map(list)),
            "probabilities": draw(st.lists(_FRACTION, min_size=1, max_size=3, unique_by=lambda p: f"{100 * p:.10g}")),
            "squares": draw(st.integers(1, 3)),
            "title": draw(_SHOWN.filter(lambda title: len(title) <= 40)),
        },
        off: None,
    }
    protocol = st.sampled_from(["batch", "recalibrated", "identity"])
    panels = [{"experiment": fashion, "mask": name, "network": draw(st.sampled_from([None, *networks]))} for name in masks]
    drawn = [
        {"kind": "landscapes", "panels": panels, "loss_range": draw(_RANGE), "contours": draw(st.booleans())},
        {"kind": "method", "experiment": fashion, "mask": next(iter(masks))},
        {"kind": "pictures", "experiment": fashion, "masks": draw(st.permutations(list(masks)))},
        {"kind": "train_and_test", "experiment": colour, "masks": list(masks), "loss_range": draw(_RANGE)},
        {
            "kind": "batchnorm",
            "study": study,
            "probability": draw(st.sampled_from(raw["studies"][study]["probabilities"])),
            "networks": compared[:2],
            "bn_protocol": draw(protocol),
        },
        {"kind": "study", "studies": [study], "bn_protocol": draw(protocol), "labels": {stock: draw(_SHOWN)}},
        None,
    ]
    names = draw(st.lists(_NAME, min_size=len(drawn), max_size=len(drawn), unique=True))
    raw["figures"] = dict(zip(names, drawn, strict=True))
    raw["benchmarks"]["throughput"]["networks"] = [stock]
    variants = {
        name: {"recipe": "fast", "passes": draw(st.integers(1, 10**12))}
        for name in draw(st.lists(_NAME, min_size=1, max_size=3, unique=True))
    }
    run = {"network": draw(st.sampled_from([*networks, stock])), "masks": [next(iter(masks))], "seeds": draw(_SEEDS)}
    raw["benchmarks"]["quality"] |= {
        "dataset": draw(st.sampled_from(["grey", "colour"])),
        "runs": [run | {"variants": variants}],
    }
    return raw
