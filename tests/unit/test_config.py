"""The config: every wrong key gets one clear line, and the runs follow from figures and studies."""

import re
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from configs import CONFIG, REMOVED, ROOT, edited, layered, runs_of
from lib.runs import BenchmarkRuns
from losspatterns.analysis.settings import MOST_NETWORKS
from losspatterns.config.reading import check_file, read
from losspatterns.data.masks import binary
from losspatterns.errors import LONGEST, InputError
from losspatterns.method.settings import Recipe, SurfaceSettings
from losspatterns.networks.settings import parse_network
from PIL import Image

GLYPH = {"kind": "glyph", "character": "A", "size": [9, 9]}
NAMES = "expected letters, digits, '_' and '-'"
STUDY = "studies/batch_norm_study"


def key_of(path: str) -> str:
    """a/0/b as messages write it: a[0].b."""
    return "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in path.split("/")).removeprefix(".")


def told(raw: Any, message: str) -> str:
    """The one line that a wrong config ends in; it matches `message`."""
    with pytest.raises(InputError, match=message) as caught:
        BenchmarkRuns(runs_of(raw))
    line = str(caught.value)
    assert line.isprintable() and len(line) <= LONGEST + 10
    return line


BAD: list[tuple[str, Any, str]] = [  # path, value, and the line: all of it from ^ on, or what follows the path's key
    ("surprise", 1, ": unknown key; allowed are scale,"),
    ("masks", REMOVED, ": missing$"),
    ("masks", None, ": found None; input should be a valid dictionary$"),
    # Names.
    ("scale", "a/b", rf": found 'a/b', {NAMES}"),
    ("scale", "smoke\n", rf": found 'smoke\\n', {NAMES}"),
    ("scale", "-smoke", rf": found '-smoke', {NAMES}.*the first no '-'"),
    ("scale", "s" * 101, rf": found 's+', {NAMES}.*at most 100"),
    ("scale", 7, ": found 7; input should be a valid string$"),
    ("studies/batch_norm_study/title", "s" * 41, ": found 's+'; string should have at most 40 characters$"),
    ("masks/a b", GLYPH, rf": found 'a b', {NAMES}"),
    ("masks/-x", GLYPH, rf": found '-x', {NAMES}"),
    ("masks/interior", {**GLYPH, "size": [9, 2]}, r"\.size\[1\]: found 2; input should be greater than or equal to 3$"),
    # Masks.
    ("masks/heart/sise", [3, 3], ": unknown key; kind glyph has .*size"),
    ("masks/heart/size", [3], r": found \[3\], expected \[rows, columns\]$"),
    ("masks/heart/kind", "glyhp", ": found 'glyhp', expected one of glyph, text,"),
    ("masks/heart", {"kind": "image", "path": "no/such.png", "size": [9, 9]}, r"\.path: no such file: no/such\.png$"),
    ("masks/heart", {"kind": "image", "path": "~no-such-user/a.png", "size": [9, 9]}, r"\.path: no such file: ~no-such-user/a"),
    ("masks/heart", {"kind": "image", "path": "/", "size": [9, 9]}, r"\.path: / cannot be read \(not a plain file\)$"),
    ("masks/heart", {"kind": "image", "path": "a\nb", "size": [9, 9]}, r"\.path: no such file: a\\nb$"),
    ("masks/heart", {"kind": "image", "path": "x" * 5000, "size": [9, 9]}, r"\.path: no such file: x+ \.\.\. x+$"),
    # Networks.
    ("networks/conv/chanels", [1], ": unknown key; kind conv has kind, channels"),
    ("networks/conv/channels", [4, "x"], r"\[1\]: found 'x'; input should be a valid integer$"),
    ("networks/conv/channels", 4, ": found 4; input should be a valid tuple$"),
    ("networks/conv/channels", [4] * 5, r"^networks\.conv: images of 28 x 28 are too small for 5 pools of 2 x 2; use fewer"),
    ("networks/conv/channels", [2**60], r"\[0\]: found 1152921504606846976; input should be less than or equal to 9007"),
    ("networks/conv/dense", [0], r"\[0\]: found 0; input should be greater than or equal to 1$"),
    ("networks/conv/kind", "convv", ": found 'convv', expected one of conv, resnet, module$"),
    ("networks/conv/kind", REMOVED, ": missing; expected one of conv, resnet, module$"),
    ("networks/conv/module", "a.py:B", ": unknown key; kind conv has kind, channels"),
    ("networks/mine", {"kind": "module"}, r"\.module: missing$"),
    ("networks/mine", {"kind": "module", "module": "~no-such-user/a.py:Net"}, r"\.module: no such file: ~no-such-user/a\.py$"),
    ("networks/mine", {"kind": "module", "module": "x" * 300 + ".py:Net"}, r"\.module: no such file: x+\.py$"),
    *[
        ("networks/mine", {"kind": "module", "module": "no/such.py:Net"} | entry, rf"\.{message}")
        for entry, message in [
            ({}, r"module: no such file: no/such\.py$"),
            ({"module": "no/such.py"}, r"module: found 'no/such\.py', expected path/to/file\.py:ClassName$"),
            ({"module": "such:Net"}, r"module: found 'such:Net', expected path/to/file\.py:ClassName$"),
            ({"module": 3}, r"module: found 3; input should be a valid string$"),
            ({"channels": [4]}, r"channels: unknown key; kind module has kind, module, arguments, batch_norm"),
            ({"arguments": [3]}, r"arguments: found \[3\]; input should be a valid dictionary$"),
            ({"arguments": {"day": date(2020, 1, 1)}}, r"arguments\.day: found .*2020.*expected numbers, texts"),
            ({"arguments": {"two words": 1}}, r"arguments: found 'two words', expected names of keyword arguments$"),
            ({"batch_norm": "yes"}, r"batch_norm: found 'yes'; input should be a valid boolean$"),
            ({"module": f"{ROOT / 'README.md'}:Net"}, r"module: found .*expected path/to/file\.py:ClassName$"),
        ]
    ],
    # Recipes, experiments, studies.
    ("recipes/fast/learning_rate", "1e-3", r": found '1e-3'; input should be a valid number \(YAML reads 1e-3 as text"),
    ("recipes/fast/learning_rate", 10**400, ": found 10+; input should be a valid number$"),
    ("recipes/fast/tau", REMOVED, ": missing$"),
    ("recipes/fast/tau", float("inf"), ": found inf; input should be a finite number$"),
    ("recipes/fast/tau", 0, ": found 0; input should be greater than 0$"),
    ("recipes/fast/updates", 0, ": found 0; input should be greater than or equal to 1$"),
    ("recipes/fast/optimizer", "sgd", ": found 'sgd'; input should be 'adam' or 'soap'$"),
    ("experiments/fashion_pictures/dataset", "svhn", ": 'svhn' is not in datasets; known are"),
    ("experiments/fashion_pictures/recipe", "fas", ": 'fas' is not in recipes; known are paper, faithful, .*, settled$"),
    (f"{STUDY}/surface/splits", ["train"], r": found \['train'\], expected test among them: a study is scored on test images$"),
    (f"{STUDY}/part", [7], r": found \[7\], expected numbers of squares from 0 to 0$"),
    (f"{STUDY}/part", "3", ": found '3', expected numbers of squares, as in \\[8, 9\\] or 8-10$"),
    (f"{STUDY}/scores", ["none.csv"], r"\[0\]: none.csv cannot be read \(No such file or directory\)$"),
    (f"{STUDY}/comparisons/0/network", "study_plain", r"^studies\.\S*\.against: found 'study_plain', expected another network"),
    (f"{STUDY}/comparisons/0/against", "conv", r": found 'conv', expected one of the study's, study_plain, study_batchnorm$"),
    (f"{STUDY}/comparisons/0/claims", "residual", r": expected a `network` with residual connections against one without; "),
    ("experiments/fashion_pictures/networks", ["con"], r"\[0\]: 'con' is not in networks; known"),
    ("experiments/fashion_pictures/training/tauu", 3, ": unknown key; allowed are"),
    ("experiments/fashion_pictures/training/tau_start", 1.5, ": found 1.5, expected at least tau, 10, or null$"),
    ("experiments/fashion_pictures/training/tau", -1, ": found -1; input should be greater than 0$"),
    ("experiments/fashion_pictures/seeds", [], r": found \[\], expected at least one entry"),
    ("experiments/fashion_pictures/seeds", [1.0], r"\[0\]: found 1\.0; input should be a valid integer$"),
    ("experiments/fashion_pictures/seeds", [2**32], r"\[0\]: found 4294967296; input should be less than or equal to 42949"),
    ("experiments/fashion_pictures/surface/padding", -1, ": found -1; input should be greater than or equal to 0$"),
    ("experiments/fashion_pictures/surface/image_seed", -1, ": found -1; input should be greater than or equal to 0$"),
    ("experiments/fashion_pictures/surface/splits", ["test", "test"], ": .*none twice$"),
    ("experiments/fashion_pictures/surface/splits", ["valid"], r"\[0\]: found 'valid'; input should be 'train', 'valida"),
    (f"{STUDY}/own_squares", True, ": unknown key; allowed are dataset, networks"),
    (f"{STUDY}/networks", ["con"], r"\[0\]: 'con' is not in networks; known"),
    (f"{STUDY}/size", [4, 9], r"\[0\]: found 4; input should be greater than or equal to 5$"),
    (f"{STUDY}/size", 9, r": found 9, expected \[rows, columns\]$"),
    (f"{STUDY}/probabilities", [0.5, 1.5], r"\[1\]: found 1\.5; input should be less than or equal to 1$"),
    (f"{STUDY}/squares", 0, ": found 0; input should be greater than or equal to 1$"),
    (f"{STUDY}/squares", [2, 0], r"\[1\]: found 0; input should be greater than or equal to 1$"),
    (f"{STUDY}/squares", [3], r": found \[3\], expected a number, or 2, as probabilities has$"),
    (f"{STUDY}/squares", "two", r": found 'two'; input should be a valid integer$"),
    (f"{STUDY}/probabilities", [1, 1 - 2**-53], r"^studies\.batch_norm_study: makes the mask \w+_p100_0, which is there"),
    ("masks/batch_norm_study_p30_0", GLYPH, r"^studies\.batch_norm_study: makes the mask \w+_p30_0, which is there already;"),
    # Figures.
    ("figures/mine", {"experiment": "fashion_pictures"}, r"\.kind: missing; expected one of batchnorm, budget, drawing,"),
    ("figures/mine", {"kind": "pics"}, r"\.kind: found 'pics', expected one of batchnorm, budget, drawing, landscapes,"),
    ("figures/fig4_fashion_mnist/maks", ["heart"], ": unknown key; kind pictures has kind, experiment,"),
    ("figures/fig4_fashion_mnist/masks", ["hart"], r"\[0\]: mask: 'hart' is not in masks; known"),
    ("figures/fig4_fashion_mnist/experiment", "none", r"^figures\.fig4_fashion_mnist\S* experiment: 'none' is not in exp"),
    ("figures/fig1_landscapes/panels/0/mask", REMOVED, ": missing$"),
    ("figures/fig1_landscapes/panels/0/network", "con", r"^figures\S*panels\[0\]: network: 'con' is not in e"),
    ("figures/fig1_landscapes/panels", [], r": found \[\]; tuple should have at least 1 item"),
    ("figures/fig1_landscapes/loss_range", [5, 1], r": found \[5, 1\], expected auto or \[low"),
    ("figures/fig2_method/loss_range", [1, float("nan")], r": found \[1, nan\], expected auto or"),
    ("figures/fig3_batchnorm/probability", 0.4, r"^figures\.fig3_batchnorm: .* 0\.4, .* has probabilities 0\.3 \(squares"),
    ("figures/fig3_batchnorm/square", 1, r"^figures\.fig3_batchnorm: found .* 0\.6, square 1, .* 0\.6 \(squares 0 to 0\),"),
    ("figures/fig3_batchnorm/networks", ["conv"], r"^figures\.fig3_batchnorm: .*network 'conv'; .* networks study_plain,"),
    ("figures/fig6_fill_probability/bn_protocol", "bach", ": found 'bach'; input should be 'batch', "),
    ("figures/fig6_fill_probability/studies", ["none"], r"\[0\]: 'none' is not in studies; known"),
    ("figures/fig6_fill_probability/studies", [], r": found \[\], expected at least one"),
    ("figures/fig6_fill_probability/labels", {"conv": "日"}, r"\.conv: found '日' \(U\+65E5\), which the font"),
    ("figures/fig6_fill_probability/studies", ["a", "b", "c", "d"], r": found .*; tuple should have at most 3 items"),
    ("figures/fig6_fill_probability/labels", {"con": "x"}, r"\.con: no network of the studies; theirs are study_plain, "),
    ("studies/batch_norm_study/title", "数 $", r": found '数' \(U\+6570\), which the font"),
    # Data sets.
    ("datasets/cifar10/kind", "CIFAR11", ": found 'CIFAR11'; input should be 'MNIST', .* or 'images'$"),
    ("datasets/cifar10/label", "a\a", r": found '\\x07' \(U\+0007\), which the font DejaVuSans lacks; take another"),
    ("datasets/cifar10/label", "", ": found '', expected a text, not empty"),
    ("datasets/cifar10/sources", [{"mirrors": ["x"]}], r"\[0\]\.mirrors: unknown key; allowed are mirror,"),
    ("datasets/cifar10/sources", [{"download": {"url": "http://[x"}}], r"\[0\]\.download\.url: found 'http://\[x', expected"),
    # Benchmarks: the shape; what their networks, masks and recipes are called is checked where they are read.
    ("benchmarks", REMOVED, ": missing$"),
    ("benchmarks/throughput/pixel", [8], ": unknown key; allowed are networks, image_shape"),
    ("benchmarks/throughput/images", [0], r"\[0\]: found 0; input should be greater than or equal to 1$"),
    ("benchmarks/throughput/image_shape", [28, 28], r": found \[28, 28\], expected \[channels, height, width\]$"),
    ("benchmarks/quality/runs/0/variants/fast/passes", REMOVED, ": missing$"),
    ("benchmarks/quality/runs/0/variants/fast/passes", 5000.0, r": found 5000\.0; input should be a valid integer$"),
    ("benchmarks/quality/runs/0/variants/fast 2.5", {"recipe": "fast", "passes": 1}, rf": found .*, {NAMES}"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "message"), BAD, ids=[f"{case[0]}={case[1]}"[:80] for case in BAD])
def test_bad_keys_are_named_in_one_line(path: str, value: Any, message: str) -> None:
    told(edited(path, value), message if message.startswith("^") else rf"^{re.escape(key_of(path))}{message}")


@pytest.mark.parametrize("place", [(), ("recipes",), ("masks",)])
def test_half_a_character_in_a_key_is_told_in_one_line(place: tuple[str, ...]) -> None:
    raw = layered("default")
    entry = raw
    for key in place:
        entry = entry[key]
    entry["\ud800"] = entry.pop(next(iter(entry)))
    with pytest.raises(InputError) as caught:
        runs_of(raw)
    assert str(caught.value).isprintable()


def test_a_config_that_is_no_mapping_is_told() -> None:
    for raw in (None, [1], "scale: smoke"):
        told(raw, "^top level: found .*; input should be a valid dictionary")


def test_a_key_that_yaml_does_not_read_as_text_is_named() -> None:
    for text, message in [
        ("1: {kind: glyph}", r"^masks: found the key 1, expected a text; put it in quotes$"),
        ("null: {kind: glyph}", r"^masks: found the key None, expected"),
        ("a: {on: [1]}", r"^masks\.a: found the key True, expected"),
        ("a: {b: [1, {2020-01-01: 1}]}", r"^masks\.a\.b\[1\]: found the key datetime\.date"),
        ("&a {b: *a}", "^top level: nested too deeply, or a list that contains itself"),
    ]:
        told(layered() | {"masks": yaml.safe_load(text)}, message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "a stands in lines 1 and 3; the last would count, so remove one"),
        ("a:\n- x: {y: 1,\n    y: 2}", "y stands in lines 2 and 3"),
        ("a: {__use_yte__: true}", "__use_yte__: found in line 1, but a config holds values only"),
    ],
)
def test_a_key_that_stands_twice_is_named_with_its_lines(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=rf"^{file}: {message}"):
        check_file(file)


def test_aliases_and_what_is_no_yaml_are_left_to_the_other_checks(tmp_path: Path) -> None:
    for file in CONFIG.glob("*.yaml"):
        check_file(file)
    for text in ("a: &a {b: 1}\nc: *a\nd: *a", "&a [*a]", "{", ""):
        (tmp_path / "c.yaml").write_text(text)
        check_file(tmp_path / "c.yaml")


def test_an_entry_of_another_kind_takes_the_lower_file_s_keys_out_with_null() -> None:
    """A layer merges key by key, so that what the lower file says of the old kind is still there."""
    picture = {"kind": "image", "path": str(ROOT / "README.md")}  # a file that is there: what it holds, the job says
    module = {"kind": "module", "module": f"{ROOT / 'tests/user_networks/networks.py'}:Net"}
    figure = {"kind": "landscapes", "panels": [{"experiment": "fashion_pictures", "mask": "knight"}]}
    for layer, nulls, message in [
        ({"masks": {"knight": picture}}, ["character"], r"^masks\.knight\.character: unknown key; kind image has .*path; "),
        (
            {"networks": {"conv": module}},
            ["channels", "dense"],
            r"^networks\.conv\.channels: unknown key; kind module has kind,",
        ),
        (
            {"figures": {"fig2_method": figure}},
            ["experiment", "mask"],
            r"^figures\.fig2_method\.experiment: unknown key; kind l",
        ),
    ]:
        line = told(layered("default", layer), message)
        ((section, entries),) = layer.items()
        ((name, entry),) = entries.items()
        assert section == "figures" or line.endswith(f"of another kind, write {nulls[0]}: null here")
        raw = layered("default", {section: {name: entry | dict.fromkeys(nulls)}})
        assert {run.mask for run in runs_of(raw).runs.values()} >= {"knight", "anchor"}
    told(layered("default", {"masks": {"knight": {"colour": None}}}), r"^masks\.knight\.colour: unknown key")


def test_a_picture_below_the_home_folder_is_found_by_every_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    Image.fromarray(np.eye(9, dtype=np.uint8) * 255).save(tmp_path / "eye.png")
    runs = runs_of(edited("masks/heart", {"kind": "image", "path": "~/eye.png", "size": [9, 9]}))
    assert runs.picture_file("heart") == [str(tmp_path / "eye.png")] and runs.picture_file("corner") == []
    assert np.array_equal(binary("heart", runs.masks["heart"]), np.eye(9, dtype=bool))


def test_figures_need_splits_and_protocols_that_are_evaluated() -> None:
    for path, value, message in [
        (
            "experiments/cifar10_pictures/surface/splits",
            ["test"],
            r"^experiments\.cifar10_pictures\.surface\.splits: found \['test'\], but fig5_cifar10 draws 'train'$",
        ),
        (
            f"{STUDY}/surface/bn_protocols",
            ["identity"],
            r"^studies\.batch_norm_study\.comparisons\[0\]\.bn_protocol: found 'batch', expected .*bn_protocols, identity$",
        ),
    ]:
        told(edited(path, value), message)


def test_a_figure_of_studies_has_a_row_for_each_and_as_many_curves_as_colours() -> None:
    raw = layered()
    few = raw["studies"]["batch_norm_study"] | {"networks": ["study_plain"], "probabilities": [0.4], "title": "small"}
    few["comparisons"] = None
    raw["studies"]["small"] = few
    raw["figures"]["fig6_fill_probability"]["studies"].append("small")
    runs = runs_of(raw)
    assert {path for path, run in runs.runs.items() if run.experiment == "studies.small"} == {
        "fashion_mnist/small_p40_0/study_plain/seed40000"
    }
    first, second = runs.figures["fig6_fill_probability"].facts["studies"]
    assert first["runs"] == [["batch_norm_study_p30_0", 30000], ["batch_norm_study_p60_0", 60000]]
    assert second == {
        "name": "small",
        "title": "small",
        "dataset": "fashion_mnist",
        "networks": ["study_plain"],
        "comparisons": [],
        "runs": [["small_p40_0", 40000]],
        "planned": 1,
    }
    few["networks"] = [f"n{k}" for k in range(5)]
    raw["networks"] |= {name: raw["networks"]["study_plain"] for name in few["networks"]}
    told(raw, r"studies: found the networks study_plain, .*n4, expected at most 6$")
    few["networks"] = [f"n{k}" for k in range(MOST_NETWORKS + 1)]
    raw["networks"] |= {name: raw["networks"]["study_plain"] for name in few["networks"]}
    told(raw, r"^studies\.small\.networks: found \['n0', .*expected at most 6$")


def test_two_experiments_cannot_train_the_same_run_differently() -> None:
    raw = layered()
    raw["experiments"]["twin"] = raw["experiments"]["fashion_pictures"]
    raw["figures"]["fig2_method"]["experiment"] = "twin"
    told(raw, r"^experiments\.\w+: trains fashion_mnist/corner/conv/seed0, as experiments\.\w+ does; give one of them another")


def test_a_mask_that_nothing_draws_trains_nothing() -> None:
    before, after = runs_of(layered()), runs_of(edited("masks/lonely", GLYPH))
    assert after.runs == before.runs and "lonely" in after.masks
    assert after.used_masks() == before.used_masks() and after.products() == before.products()


def test_new_seeds_networks_and_masks_add_runs_and_change_none() -> None:
    before = runs_of(layered()).runs
    raw = layered()
    raw["studies"]["batch_norm_study"]["squares"] = 2
    raw["experiments"]["cifar10_pictures"]["seeds"] = [0, 7]
    raw["masks"]["new"] = {"kind": "text", "text": "A", "size": [9, 9]}
    raw["figures"]["fig4_fashion_mnist"]["masks"].append("new")
    after = runs_of(raw).runs
    assert {path: run for path, run in after.items() if path in before} == before
    assert set(after) - set(before) == {"fashion_mnist/new/conv/seed0", "cifar10/corner/resnet/seed7"} | {
        f"fashion_mnist/batch_norm_study_p{p}_1/{network}/seed{p}001"
        for p in (30, 60)
        for network in ("study_plain", "study_batchnorm")
    }


def test_what_a_run_s_jobs_get_depends_on_its_own_settings_alone() -> None:
    """One origin for all pictures of a seed; a longer training or another picture leaves it as it is."""
    run = runs_of(layered()).runs["fashion_mnist/heart/conv/seed0"]
    twin = runs_of(layered()).runs["fashion_mnist/corner/conv/seed0"]
    longer = runs_of(edited("experiments/fashion_pictures/training/updates", 201)).runs[run.path]
    warmer = runs_of(edited("experiments/fashion_pictures/training/origin_updates", 51)).runs[run.path]
    wider = runs_of(edited("experiments/fashion_pictures/surface/padding", 3)).runs[run.path]
    assert run.origin_spec() == twin.origin_spec() and run.wildcards["warm_up"] == twin.wildcards["warm_up"]
    assert run.origin_spec() == longer.origin_spec() != warmer.origin_spec()
    assert run.wildcards == longer.wildcards and run.wildcards["warm_up"] != warmer.wildcards["warm_up"]
    assert run.training_spec() != longer.training_spec() and run.surface_spec() == longer.surface_spec()
    assert run.surface_spec() != wider.surface_spec() and run.training_spec() == wider.training_spec()


def test_settings_survive_a_round_trip() -> None:
    run = runs_of(layered()).runs["cifar10/corner/resnet/seed0"]
    for model, settings in ((Recipe, run.training), (SurfaceSettings, run.surface)):
        assert read(model, "key", settings.model_dump(mode="json")) == settings
    module = {"kind": "module", "module": "a.py:B", "arguments": {"width": 3, "sizes": [1, 2]}, "batch_norm": True}
    assert parse_network("mine", module).model_dump(mode="json") == module
    assert parse_network("conv", run.network_settings.model_dump(mode="json")) == run.network_settings


def with_module(path: Path) -> dict[str, Any]:
    """The smoke config with a network of kind module in the place of the fashion pictures' one."""
    raw = layered()
    raw["networks"]["mine"] = {"kind": "module", "module": f"{path}:Net", "batch_norm": True}
    raw["experiments"]["fashion_pictures"]["networks"] = ["mine"]
    return raw


def test_a_module_s_files_are_it_and_the_neighbours_that_it_imports(tmp_path: Path) -> None:
    for name, text in (("mine", "import torch, beside"), ("beside", "from further import x"), ("further", ""), ("other", "")):
        (tmp_path / f"{name}.py").write_text(text)
    runs = runs_of(with_module(tmp_path / "mine.py"))
    assert runs.module_files("mine") == [str(tmp_path / f"{name}.py") for name in ("mine", "beside", "further")]
    assert runs.module_files("conv") == []
    assert runs.runs["fashion_mnist/heart/mine/seed0"].protocols == ("batch",)


def test_a_module_s_file_that_is_no_python_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import beside")
    (tmp_path / "beside.py").write_text("x = (\n")
    told(with_module(tmp_path / "mine.py"), r"^networks\.mine\.module: found .*mine\.py:Net', .*\(beside\.py, line 1\)$")
