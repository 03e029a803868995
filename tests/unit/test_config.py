"""The config: every wrong key gets one clear line, and the runs follow from the figures."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from losspatterns.config import MOST_CURVES, Config, check_file, check_schema
from losspatterns.data.masks import binary
from losspatterns.errors import InputError
from losspatterns.figures.fill_probability import COLOURS
from losspatterns.quality import within_budget
from losspatterns.specs import SurfaceSpec, TrainingSpec, as_config, parse, parse_network
from PIL import Image

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
SCALES = ["config", "smoke", "hour", "paper"]


def raw(scale: str = "smoke") -> dict[str, Any]:
    """A fresh copy of a config file."""
    return yaml.safe_load((ROOT / f"config/{scale}.yaml").read_text(encoding="utf-8"))


def checked(entries: dict[str, Any]) -> Config:
    """What the workflow does with a config first."""
    check_schema(entries, SCHEMA)
    config = Config(entries)
    config.picture_files()
    config.module_files()
    return config


@pytest.mark.parametrize("scale", SCALES)
def test_shipped_configs_are_valid_and_fully_written_out(scale: str) -> None:
    config = checked(raw(scale))
    assert config.scale == {"config": "default"}.get(scale, scale)
    for name, recipe in config.raw["recipes"].items():
        assert set(recipe) == set(as_config(parse(TrainingSpec, name, recipe)))
    assert set(config.raw["recipes"]) == {"paper", "fast"}
    assert config.raw["recipes"] == raw()["recipes"]  # one definition of the two recipes in all scales


def test_paper_scale_is_the_paper_s() -> None:
    """Numbers: arXiv 1910.03867, sections 3 and 4."""
    config = checked(raw("paper"))
    study = [run for run in config.runs.values() if run.experiment == "batch_norm_study"]
    assert len(study) == 9 * 5 * 3
    picture = next(run for run in config.runs.values() if run.experiment == "fashion_pictures")
    assert picture.training.passes_per_update(10**6, 10**6) * picture.training.updates == 604_160_000
    assert (picture.training.tau, study[0].training.tau) == (2.5, 5.0)
    forms = [source.form for dataset in config.datasets.values() for source in dataset.sources]
    assert set(forms) == {"mirror", "download"}


def edit(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """An edit of one key; the value `del` removes it."""

    def apply(entries: dict[str, Any]) -> None:
        *parents, last = path.split("/")
        for key in parents:
            entries = entries[int(key) if key.isdigit() else key]
        if value == "del":
            del entries[last]
        else:
            entries[last] = value

    return apply


BAD = [
    ("surprise", 1, "surprise: unknown key; allowed are scale,"),
    ("scale", "a/b", "scale: found 'a/b': names are made of"),
    ("masks", "del", "top level: the key 'masks' is missing"),
    ("figures/fig4_fashion_mnist/maks", ["heart"], r"figures\.fig4_fashion_mnist\.maks: unknown key; allowed are"),
    (
        "figures/fig4_fashion_mnist/masks",
        ["hart"],
        r"figures\.fig4_fashion_mnist\.masks\[0\]: mask: 'hart' is not in masks; known",
    ),
    ("benchmarks", "del", "top level: the key 'benchmarks' is missing"),
    ("benchmarks/throughput/pixel", [8], r"benchmarks\.throughput\.pixel: unknown key; allowed are networks, pixels"),
    ("benchmarks/throughput/images", [0], r"benchmarks\.throughput\.images\.0: 0 is less than"),
    ("benchmarks/throughput/networks", ["resnet"], r"benchmarks\.throughput\.networks\[0\]: 'resnet' is of kind resnet"),
    ("benchmarks/surfaces/networks", ["con"], r"benchmarks\.surfaces\.networks\[0\]: 'con' is not in networks; known"),
    ("benchmarks/threads", ["many"], r"benchmarks\.threads\.0: "),
    ("benchmarks/quality/dataset", "mnist", r"benchmarks\.quality\.dataset: 'mnist' is not in datasets; known"),
    ("benchmarks/quality/runs/0/masks", ["hart"], r"benchmarks\.quality\.runs\[0\]\.masks\[0\]: 'hart' is not in masks; known"),
    ("benchmarks/quality/runs/0/network", "con", r"benchmarks\.quality\.runs\[0\]\.network: 'con' is not in networks; known"),
    (
        "benchmarks/quality/runs/0/variants/fast/recipe",
        "fas",
        r"variants\.fast\.recipe: 'fas' is not in recipes; known",
    ),
    ("benchmarks/quality/runs/0/variants/fast/passes", "del", r"variants\.fast: the key 'passes' is missing"),
    ("benchmarks/quality/runs/0/variants/fast/training/tauu", 1, r"variants\.fast\.training\.tauu: unknown key; allowed are"),
    (
        "benchmarks/quality/runs/0/variants/fast/training/updates",
        5,
        r"variants\.fast\.training\.updates: follows from .*passes",
    ),
    ("benchmarks/quality/runs/0/variants/fast 2.5", {"recipe": "fast", "passes": 1}, r"variants\.fast 2\.5: names are made of"),
    ("masks/lonely", {"kind": "glyph", "character": "A", "size": [9, 9]}, r"masks\.lonely: no figure draws it"),
    ("masks/heart/sise", [3, 3], r"masks\.heart\.sise: unknown key; a mask of kind glyph has"),
    ("masks/heart/kind", "glyhp", r"masks\.heart\.kind: .*glyhp.*glyph"),
    (
        "masks/heart",
        {"kind": "image", "path": "no/such.png", "size": [9, 9]},
        r"masks\.heart\.path: no such file: no/such\.png",
    ),
    ("masks/a b", {"kind": "glyph", "character": "A", "size": [9, 9]}, r"masks\.a b: names are made of letters"),
    ("networks/conv/chanels", [1], r"networks\.conv\.chanels: unknown key; allowed are kind, channels"),
    ("networks/conv/channels", [4, "x"], r"networks\.conv\.channels\[1\]: found 'x', expected int"),
    ("networks/conv/dense", [0], r"networks\.conv\.dense: found 0, expected positive"),
    ("networks/conv/kind", "convv", r"networks\.conv\.kind: found 'convv', allowed are conv, resnet, module"),
    ("networks/conv/kind", "del", r"networks\.conv\.kind: missing"),
    ("networks/conv/module", "a.py:B", r"networks\.conv\.module: unknown key; allowed are kind, channels"),
    ("networks/mine", {"kind": "module"}, r"networks\.mine\.module: missing"),
    *[
        ("networks/mine", {"kind": "module", "module": "no/such.py:Net"} | entry, rf"networks\.mine\.{message}")
        for entry, message in [
            ({}, r"module: no such file: no/such\.py"),
            ({"module": "no/such.py"}, r"module: found 'no/such\.py', expected path/to/file\.py:ClassName"),
            ({"module": "such:Net"}, r"module: found 'such:Net', expected path/to/file\.py:ClassName"),
            ({"module": 3}, r"module: found 3, expected str"),
            ({"channels": [4]}, r"channels: unknown key; allowed are kind, module, arguments, batch_norm"),
            ({"arguments": [3]}, r"arguments: found \[3\], expected a mapping"),
            ({"arguments": {"day": date(2020, 1, 1)}}, r"arguments\.day: found .*2020.*expected numbers, texts"),
            ({"arguments": {"two words": 1}}, r"arguments: found 'two words', expected names of keyword arguments"),
            ({"batch_norm": "yes"}, r"batch_norm: found 'yes', expected bool"),
            ({"module": f"{ROOT / 'README.md'}:Net"}, r"module: found .*expected path"),
        ]
    ],
    ("recipes/fast/learning_rate", "1e-3", r"recipes\.fast\.learning_rate: found '1e-3', expected float \(YAML reads 1e-3"),
    ("recipes/fast/tau", "del", r"recipes\.fast\.tau: missing"),
    ("recipes/fast/updates", 0, r"recipes\.fast\.updates: found 0, expected at least 1"),
    (
        "experiments/fashion_pictures/dataset",
        "mnist",
        r"experiments\.fashion_pictures\.dataset: 'mnist' is not in datasets; known",
    ),
    ("experiments/fashion_pictures/training/tauu", 3, r"experiments\.fashion_pictures\.training\.tauu: unknown key"),
    ("experiments/fashion_pictures/seeds", [], r"experiments\.fashion_pictures\.seeds: "),
    ("experiments/fashion_pictures/surface/padding", -1, r"experiments\.fashion_pictures\.surface\.padding: found -1"),
    ("experiments/fashion_pictures/surface/splits", ["test", "test"], r"surface\.splits: .*none twice"),
    ("figures/fig6_fill_probability/bn_protocol", "bach", r"figures\.fig6_fill_probability\.bn_protocol: 'bach'"),
    ("scale", "smoke\n", r"scale: found 'smoke\\n': names are made of"),
    ("scale", "-smoke", r"scale: found '-smoke': names are made of .*the first no '-'"),
    ("scale", "s" * 101, r"scale: found 's+': names are made of .*at most 100"),
    ("masks/-x", {"kind": "glyph", "character": "A", "size": [9, 9]}, r"masks\.-x: names are made of"),
    ("masks/heart", {"kind": "image", "path": "~no-such-user/a.png", "size": [9, 9]}, r"path: no such file: ~no-such-user/a"),
    ("masks/heart", {"kind": "image", "path": "a\nb", "size": [9, 9]}, r"path: no such file: a\\nb$"),
    ("masks/heart", {"kind": "image", "path": "x" * 5000, "size": [9, 9]}, r"path: no such file: x+ \.\.\. x+$"),
    ("networks/mine", {"kind": "module", "module": "~no-such-user/a.py:Net"}, r"module: no such file: ~no-such-user/a\.py"),
    ("networks/mine", {"kind": "module", "module": "x" * 300 + ".py:Net"}, r"module: no such file: x+\.py"),
    ("networks/conv/channels", [4] * 5, r"networks\.conv: images of 28 x 28 are too small for 5 pools of 2 x 2; use fewer"),
    ("networks/conv/channels", [2**60], r"networks\.conv\.channels\[0\]: found 1152921504606846976, expected an integer of at"),
    ("benchmarks/image_shape", [1, 1, 28], r"networks\.conv: images of 1 x 28 are too small for 1 pools"),
    ("recipes/fast/tau", float("inf"), r"recipes\.fast\.tau: found inf, expected a finite number"),
    ("recipes/fast/learning_rate", 10**400, r"recipes\.fast\.learning_rate: found 10+, expected a finite number"),
    ("experiments/fashion_pictures/seeds", [1.0], r"experiments\.fashion_pictures\.seeds\.0: found 1\.0, expected integer"),
    ("experiments/fashion_pictures/seeds", [2**32], r"seeds\.0: 4294967296 is greater than the maximum of 4294967295"),
    ("experiments/fashion_pictures/surface/image_seed", -1, r"surface\.image_seed: found -1, expected 0 to 4294967294"),
    ("benchmarks/quality/runs/0/variants/fast/passes", 5000.0, r"variants\.fast\.passes: found 5000\.0, expected integer"),
    ("figures/fig1_landscapes/loss_range", [5, 1], r"fig1_landscapes\.loss_range: found \[5, 1\], expected auto or \[low"),
    ("figures/fig2_method/loss_range", [1, float("nan")], r"fig2_method\.loss_range: found \[1, nan\], expected auto or"),
    (
        "figures/fig6_fill_probability/studies/0/masks",
        ["heart"],
        r"fill_probability\.studies\[0\]\.masks\[0\]: 'heart' is of kind glyph, expected ran",
    ),
    (
        "figures/fig6_fill_probability/studies/0/experiment",
        "none",
        r"studies\[0\]\.masks\[0\]: experiment: 'none' is not in experiments; known are",
    ),
    ("figures/fig6_fill_probability/studies", [], r"figures\.fig6_fill_probability\.studies: "),
    ("figures/fig6_fill_probability/labels", {"con": "x"}, r"labels\.con: no network of the study; its are study_plain, "),
    ("datasets/cifar10/sources", [{"download": {"url": "http://[x"}}], r"sources\[0\]\.download\.url: found 'http://\[x'"),
    ("datasets/cifar10/kind", "CIFAR11", r"datasets\.cifar10\.kind: .*CIFAR11"),
    ("datasets/cifar10/sources", [{"mirrors": ["x"]}], r"datasets\.cifar10\.sources\[0\].*mirrors"),
]


@pytest.mark.parametrize(("path", "value", "message"), BAD, ids=[f"{case[0]}={case[1]}"[:80] for case in BAD])
def test_bad_keys_are_named_in_one_line(path: str, value: Any, message: str) -> None:
    entries = raw()
    edit(path, value)(entries)
    with pytest.raises(InputError, match=message) as caught:
        checked(entries)
    assert "\n" not in str(caught.value)


def test_a_key_that_yaml_does_not_read_as_text_is_named() -> None:
    for text, message in [
        ("1: {kind: glyph}", r"^masks: found the key 1, expected a text; put it in quotes$"),
        ("null: {kind: glyph}", r"^masks: found the key None, expected"),
        ("a: {on: [1]}", r"^masks\.a: found the key True, expected"),
        ("a: {b: [1, {2020-01-01: 1}]}", r"^masks\.a\.b\[1\]: found the key datetime\.date"),
        ("&a {b: *a}", "^top level: nested too deeply, or a list that contains itself"),
    ]:
        with pytest.raises(InputError, match=message):
            checked(raw() | {"masks": yaml.safe_load(text)})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "a stands in lines 1 and 3; the last would count, so remove one"),
        ("a:\n- x: {y: 1,\n    y: 2}", r"a\.\[0\]x\.y stands in lines 2 and 3"),
        ("a: {__use_yte__: true}", "__use_yte__: found in line 1, but a config holds values only"),
    ],
)
def test_a_key_that_stands_twice_is_named_with_its_lines(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=rf"^{file}: {message}"):
        check_file(file)


def test_aliases_and_what_is_no_yaml_are_left_to_the_other_checks(tmp_path: Path) -> None:
    for scale in SCALES:
        check_file(ROOT / f"config/{scale}.yaml")
    for text in ("a: &a {b: 1}\nc: *a\nd: *a", "&a [*a]", "{", ""):
        (tmp_path / "c.yaml").write_text(text)
        check_file(tmp_path / "c.yaml")


def test_a_picture_below_the_home_folder_is_found_by_every_stage(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    Image.fromarray(np.eye(9, dtype=np.uint8) * 255).save(tmp_path / "eye.png")
    entries = raw()
    entries["masks"]["heart"] = {"kind": "image", "path": "~/eye.png", "size": [9, 9]}
    config = checked(entries)
    assert config.picture_files() == {"heart": str(tmp_path / "eye.png")}
    assert np.array_equal(binary(config.masks["heart"]), np.eye(9, dtype=bool))


def test_figures_need_splits_and_protocols_that_are_evaluated() -> None:
    for path, value, message in [
        ("experiments/cifar10_pictures/surface/splits", ["test"], r"experiments\.cifar10_pictures\.surface\.splits: .*train"),
        ("experiments/batch_norm_study/surface/bn_protocols", ["identity"], r"surface\.bn_protocols: .*batch"),
    ]:
        entries = raw()
        edit(path, value)(entries)
        with pytest.raises(InputError, match=message):
            checked(entries)


def test_figure_6_has_a_row_for_each_study_and_as_many_curves_as_colours() -> None:
    entries = raw()
    first = entries["figures"]["fig6_fill_probability"]["studies"][0]
    entries["masks"]["other"] = {"kind": "random_square", "size": [6, 6], "probability": 0.4, "seed": 3}
    small = copy.deepcopy(entries["experiments"]["batch_norm_study"]) | {"networks": ["study_plain"], "seeds": [4]}
    entries["experiments"]["small"] = small
    entries["figures"]["fig6_fill_probability"]["studies"].append({"experiment": "small", "masks": ["other"], "title": "small"})
    config = checked(entries)
    assert {path for path, run in config.runs.items() if run.experiment == "small"} == {"fashion_mnist/other/study_plain/seed4"}
    expected = {
        "experiment": "small",
        "dataset": "fashion_mnist",
        "networks": ["study_plain"],
        "runs": [["other", 4]],
    }
    assert config.studies()[0]["runs"] == [[mask, 0] for mask in first["masks"]] and config.studies()[1] == expected
    options = json.loads(config.figure_options("fig6_fill_probability"))
    assert [study["title"] for study in options["studies"]] == ["", "small"]
    small["networks"] = [f"n{k}" for k in range(4)]
    entries["networks"] |= {name: entries["networks"]["study_plain"] for name in small["networks"]}
    with pytest.raises(InputError, match=r"studies: found the networks study_plain, .*n3, expected at most 6"):
        checked(entries)
    assert len(COLOURS) == MOST_CURVES


def test_own_squares_are_trained_with_the_seed_they_were_drawn_with() -> None:
    entries = raw()
    study = entries["experiments"]["batch_norm_study"] | {"seeds": [0, 3], "own_squares": True}
    entries["experiments"]["batch_norm_study"] = study
    entries["masks"]["square_p30b"] = entries["masks"]["square_p30"] | {"seed": 3}
    entries["figures"]["fig6_fill_probability"]["studies"][0]["masks"].append("square_p30b")
    config = checked(entries)
    runs = [["square_p30", 0], ["square_p60", 0], ["square_p30b", 3]]
    assert config.studies()[0]["runs"] == runs
    trained = {(run.mask, run.seed) for run in config.runs.values() if run.experiment == "batch_norm_study"}
    assert trained == {(mask, seed) for mask, seed in runs}
    study["seeds"] = [0, 3, 5]
    with pytest.raises(InputError, match=r"batch_norm_study\.seeds: 5 trains nothing, since no random square .* with it"):
        checked(entries)
    study["seeds"] = [0]
    with pytest.raises(InputError, match=r"masks\.square_p30b\.seed: found 3, expected one of experiments\.\w+\.seeds, 0"):
        checked(entries)
    study["own_squares"] = "yes"
    with pytest.raises(InputError, match=r"experiments\.batch_norm_study\.own_squares: found 'yes', expected boolean"):
        checked(entries)


def test_two_experiments_cannot_train_the_same_run_differently() -> None:
    entries = raw()
    entries["experiments"]["twin"] = copy.deepcopy(entries["experiments"]["fashion_pictures"])
    entries["figures"]["fig2_method"]["experiment"] = "twin"
    with pytest.raises(InputError, match=r"experiments\.\w+: trains fashion_mnist/corner/conv/seed0, as experiments\.\w+ does"):
        checked(entries)


def test_new_seeds_networks_and_masks_add_runs_and_change_none() -> None:
    before = checked(raw()).runs
    entries = raw()
    entries["experiments"]["batch_norm_study"]["seeds"].append(7)
    entries["masks"]["new"] = {"kind": "text", "text": "A", "size": [9, 9]}
    entries["figures"]["fig4_fashion_mnist"]["masks"].append("new")
    after = checked(entries).runs
    assert {k: v for k, v in after.items() if k in before} == before
    assert set(after) - set(before) == {"fashion_mnist/new/conv/seed0"} | {
        f"fashion_mnist/{mask}/{network}/seed7"
        for mask in ("square_p30", "square_p60")
        for network in ("study_plain", "study_batchnorm", "study_residual")
    }


def test_a_budget_of_passes_and_the_mask_decide_the_updates() -> None:
    entries = raw()
    variants = entries["benchmarks"]["quality"]["runs"][0]["variants"]
    variants.clear()
    variants["fast"] = {"recipe": "fast", "passes": 3 * 512 + 511}
    variants["few"] = {"recipe": "fast", "passes": 1}
    variants["tau"] = {"recipe": "fast", "passes": 1000, "training": {"images": 2, "tau": 2.5}, "label": "fast, tau 2.5"}
    config = checked(entries)
    runs = config.quality_runs
    assert list(runs) == [f"corner/{name}/seed0" for name in ("fast", "few", "tau")]
    masks = np.repeat(np.array([1, -1], np.int8), 256)[None], np.array([[1, -1, -1, 0]], np.int8)
    updates = [[within_budget(run.training, run.passes, mask).updates for run in runs.values()] for mask in masks]
    assert updates == [[3, 1, 1], [2047 // 3, 1, 1000 // 6]]
    assert runs["corner/tau/seed0"].training["tau"] == 2.5 and runs["corner/fast/seed0"].training["tau"] == 10.0
    assert config.variant_labels() == {"fast": "fast", "few": "few", "tau": "fast, tau 2.5"}


def test_a_mask_of_the_benchmarks_alone_is_enough_and_trains_no_plane() -> None:
    entries = raw()
    entries["masks"]["lonely"] = {"kind": "glyph", "character": "A", "size": [9, 9]}
    entries["benchmarks"]["quality"]["runs"][0]["masks"].append("lonely")
    config = checked(entries)
    assert config.runs == checked(raw()).runs
    assert {run.mask for run in config.quality_runs.values()} == {"corner", "lonely"}


def test_the_same_mask_and_variant_cannot_be_trained_twice() -> None:
    entries = raw()
    runs = entries["benchmarks"]["quality"]["runs"]
    runs.append(copy.deepcopy(runs[0]) | {"network": "study_plain"})
    with pytest.raises(InputError, match=r"benchmarks\.quality\.runs\[1\]\.variants\.fast: trains corner/fast a second time"):
        checked(entries)


def test_speed_is_measured_at_sixteen_images_in_every_scale() -> None:
    assert all(16 in raw(scale)["benchmarks"]["throughput"]["images"] for scale in SCALES)


def test_which_other_surfaces_exist_does_not_touch_a_surface() -> None:
    entries = raw()
    entries["experiments"]["fashion_pictures"]["surface"]["splits"] = ["train", "test"]
    path = "fashion_mnist/heart/conv/seed0"
    assert checked(entries).runs[path].surface_json() == checked(raw()).runs[path].surface_json()


def test_specs_survive_a_round_trip() -> None:
    run = checked(raw()).runs["cifar10/corner/resnet/seed0"]
    for cls, spec in ((TrainingSpec, run.training), (SurfaceSpec, run.surface)):
        assert parse(cls, "spec", as_config(spec)) == spec
    module = {"kind": "module", "module": "a.py:B", "arguments": {"width": 3, "sizes": [1, 2]}, "batch_norm": True}
    assert as_config(parse_network("mine", module)) == module
    for network in (run.network_spec, parse_network("mine", module)):
        assert parse_network("network", json.loads(json.dumps(as_config(network)))) == network


def with_module(path: Path) -> dict[str, Any]:
    """The smoke config with a network of kind module in the place of the fashion pictures' one."""
    entries = raw()
    entries["networks"]["mine"] = {"kind": "module", "module": f"{path}:Net", "batch_norm": True}
    entries["experiments"]["fashion_pictures"]["networks"] = ["mine"]
    return entries


def test_a_module_s_files_are_it_and_the_neighbours_that_it_imports(tmp_path: Path) -> None:
    for name, text in (("mine", "import torch, beside"), ("beside", "from further import x"), ("further", ""), ("other", "")):
        (tmp_path / f"{name}.py").write_text(text)
    config = checked(with_module(tmp_path / "mine.py"))
    assert config.module_files() == {"mine": [str(tmp_path / f"{name}.py") for name in ("mine", "beside", "further")]}
    assert config.runs["fashion_mnist/heart/mine/seed0"].protocols == ("batch",)


def test_a_module_s_file_that_is_no_python_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import beside")
    (tmp_path / "beside.py").write_text("x = (\n")
    with pytest.raises(InputError, match=r"networks\.mine\.module: found .*mine\.py:Net', .*\(beside\.py, line 1\)") as caught:
        checked(with_module(tmp_path / "mine.py"))
    assert "\n" not in str(caught.value)
