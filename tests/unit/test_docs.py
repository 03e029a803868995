"""README and documentation: links lead somewhere, configs are valid, commands exist, and the site builds."""

import copy
import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import yaml
from configs import layered, runs_of
from losspatterns import figures
from losspatterns.beyond.planning import parts_of
from losspatterns.config.reading import read
from losspatterns.figures import Needs, Picture
from losspatterns.figures.surfaces import Surface
from losspatterns.method.plane import Plane
from losspatterns.networks import batch_norm
from losspatterns.runs.planning import Runs
from losspatterns.runs.settings import Settings, check
from PIL import Image
from safetensors.torch import save_file
from snakemake.cli import get_argument_parser
from snakemake.utils import update_config

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *(ROOT / f"{folder}/README.md" for folder in ("benchmarks", "config", "figures")),
    *sorted((ROOT / "docs").glob("*.md")),
]
FENCE = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```$", re.S | re.M)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(language: str) -> list:
    """Every fenced block of a language in all pages, as pytest parameters named page:line."""
    found = []
    for page in PAGES:
        for match in FENCE.finditer(text := text_of(page)):
            if match[2] == language:
                found.append(pytest.param(match[3], id=f"{page.relative_to(ROOT)}:{text[: match.start()].count(chr(10)) + 1}"))
    return found


def block_with(page: str, language: str, words: str) -> str:
    """The one block of a page that contains these words."""
    (found,) = (match[3] for match in FENCE.finditer(text_of(ROOT / page)) if match[2] == language and words in match[3])
    return found


def commands(program: str) -> list[str]:
    """Every command line of a program, from bash blocks and from inline code; placeholders left out."""
    lines = []
    for page in PAGES:
        text = text_of(page)
        lines += [line for match in FENCE.finditer(text) if match[2] == "bash" for line in match[3].splitlines()]
        lines += re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    parts = {part.strip() for line in lines for part in line.split("#")[0].split("&&")}
    return sorted(part for part in parts if re.match(rf"(\w+=\S+ )*{program} ", part))


def config_of(*scales: str) -> dict:
    config: dict = {}
    for name in ("recipes", "beyond", "config", *scales):
        update_config(config, yaml.safe_load((ROOT / f"config/{name}.yaml").read_text(encoding="utf-8")))
    return config


@pytest.fixture
def accuracies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The kind of figure that docs/extending.md adds, as if it lay in losspatterns/figures/."""
    (tmp_path / "accuracies.py").write_text(block_with("docs/extending.md", "python", "class Options"))
    name, known = f"{figures.__name__}.accuracies", figures.kinds()
    specification = importlib.util.spec_from_file_location(name, tmp_path / "accuracies.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(figures, "kinds", lambda: [*known, "accuracies"])
    return module


def test_readme_has_the_two_commands() -> None:
    text = text_of(ROOT / "README.md")
    for command in (
        "pip install -r envs/requirements.txt && snakemake --cores all",
        "pip install -r envs/requirements-dev.txt && pytest",
    ):
        assert f"```bash\n{command}\n```" in text


def test_readme_lists_every_scale() -> None:
    named = set(re.findall(r"--configfile=config/(\w+)\.yaml", text_of(ROOT / "README.md")))
    assert named == {file.stem for file in (ROOT / "config").glob("*.yaml")} - {"beyond", "config", "recipes"}
    assert f": {len(Runs(check(config_of('paper'))).runs)} planes" in text_of(ROOT / "README.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_measurement_is_left_out(page: Path) -> None:
    waiting = re.findall(r"\b(?:TIME|JOBS|GAP|PROTOCOL)_[A-Z_]+\b|<!-- (?:REFRESH|MEASURE)[^>]*-->", text_of(page))
    assert not waiting, f"to fill in: {waiting}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_and_picture_exists(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", text_of(page)))
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"https?://|#", target)]
    missing = [target for target in targets if not (page.parent / target.split("#")[0]).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_nothing_in_angle_brackets_is_taken_for_html(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", text_of(page)))
    assert re.findall(r"</?\w+[^>]*>", text) == [], "put it in backticks"


def test_what_a_run_draws_is_not_committed() -> None:
    """The pictures that pages show are in docs/images/."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "figures", "results"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert listed.stdout.split() == ["figures/README.md"]


def test_every_committed_picture_is_shown() -> None:
    shown = {(page.parent / target).resolve() for page in PAGES for target in re.findall(r"!\[.*?\]\((.+?)\)", text_of(page))}
    assert {file for kind in ("png", "gif") for file in (ROOT / "docs/images").rglob(f"*.{kind}")} == shown


@pytest.mark.parametrize("block", blocks("yaml"))
def test_every_config_is_valid_over_the_default(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accuracies: ModuleType
) -> None:
    overlay = yaml.safe_load(block)
    assert set(overlay) <= set(Settings.model_fields)
    monkeypatch.chdir(tmp_path)
    Image.new("L", (32, 32)).save("logo.png")
    Path("my_network.py").write_text(block_with("docs/extending.md", "python", "class MLP"))
    config = copy.deepcopy(config_of())
    update_config(config, overlay)
    runs = Runs(check(config))
    runs.check_files()
    assert set(overlay.get("figures", {})) <= set(runs.figures)


@pytest.mark.parametrize("block", blocks("python"))
def test_every_python_block_compiles(block: str) -> None:
    compile(block, "block", "exec")


def test_snakemake_commands_have_valid_options_and_targets() -> None:
    rules = "".join(text_of(file) for folder in ("workflow", "benchmarks") for file in (ROOT / folder).rglob("*.smk"))
    rules += text_of(ROOT / "Snakefile")
    found = commands("snakemake")
    assert len(found) >= 10
    runs = runs_of(layered("default"))
    parts = parts_of(runs)
    for command in found:
        last = re.search(r"--configfile \S+\.yaml \S+\.yaml$", command)  # two of them: = takes one alone
        taken = not last and re.search(r"--configfile(?!=)", command)
        assert not taken, f"{command}: without = Snakemake takes a target for a config"
        words = [word for word in shlex.split(command)[1:] if word != "..."]
        arguments = get_argument_parser().parse_args(words)  # SystemExit for an unknown option
        for target in arguments.targets:
            part = re.search(r"beyond/(\w+)\.", target)
            known = (part and part[1] in parts) or re.search(rf"^rule {target}:", rules, re.M)
            assert known, f"{command}: no rule {target}"
        for file in arguments.configfile or []:
            assert Path(file).name in ("mine.yaml", "a.yaml", "b.yaml", "FILE") or (ROOT / file).is_file(), command
        if profile := re.search(r"--workflow-profile[ =](\S+)", command):
            assert (ROOT / profile[1] / "config.yaml").is_file(), command


def test_other_commands_name_files_that_exist() -> None:
    named = [word for program in ("python", "pip", "pytest") for command in commands(program) for word in shlex.split(command)]
    files = [word for word in named if re.match(r"(scripts|envs|tests)/", word)]
    assert len(files) >= 6
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_a_surface_is_read_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import xarray as xr

    monkeypatch.chdir(tmp_path)
    file = Path("results/default/surfaces/fashion_mnist/knight/conv/seed0.nc")
    file.parent.mkdir(parents=True)
    axes = ("stage", "split", "protocol", "row", "column")
    loss = np.arange(24.0).reshape(2, 2, 1, 2, 3)
    correct = np.arange(48).reshape(2, 2, 1, 2, 2, 3)
    labels = {"stage": ["untrained", "trained"], "split": ["train", "test"], "protocol": ["none"], "class": ["cat", "dog"]}
    variables = {
        "loss": (axes, loss),
        "accuracy": (axes, -loss),
        "correct": ((*axes[:3], "class", *axes[3:]), correct),
        "class_images": (("split", "class"), [[60, 60], [50, 100]]),
    }
    xr.Dataset(variables, labels | {"row": [2.0, 3.0], "column": [9.0, 10.0, 11.0]}).to_netcdf(file, engine="h5netcdf")
    names: dict = {}
    exec(block_with("docs/files.md", "python", "open_dataset"), names)
    np.testing.assert_array_equal(names["loss"], loss[1, 1, 0])
    np.testing.assert_array_equal(names["accuracy"], -loss[1, 1, 0])
    assert names["of_classes"].to_series().to_dict() == {
        "cat": correct[1, 1, 0, 0, 1, 1] / 50,
        "dog": correct[1, 1, 0, 1, 1, 1] / 100,
    }


def test_a_pixel_s_weights_are_read_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path("results/default/planes/fashion_mnist/knight/conv/seed0.safetensors")
    file.parent.mkdir(parents=True)
    torch.manual_seed(0)
    plane = Plane(torch.randn(3, 50).unbind(), torch.tensor(0.1), (24, 24))
    right, up = plane.basis()
    save_file({"origin": plane.origin, "right": right, "up": up, "step": plane.step}, file)
    names: dict = {}
    exec(block_with("docs/files.md", "python", "load_file"), names)
    torch.testing.assert_close(names["weights"], plane.weights(torch.tensor([[3, 10]]))[0])


def test_the_new_kind_of_figure_draws_as_written(accuracies: ModuleType) -> None:
    entry = yaml.safe_load(block_with("docs/extending.md", "yaml", "kind: accuracies"))["figures"]["accuracies"]
    options = read(accuracies.Options, "figures.accuracies", entry)
    assert accuracies.needs(options) == Needs([Picture("fashion_pictures", "knight")])
    mask = np.array([[1, -1, 0], [1, 1, -1]], np.int8)
    accuracy = np.where(mask == 1, 0.9, 0.1)
    surface = Surface(np.arange(2.0), np.arange(3.0), accuracy, accuracy, mask, {})
    (axes,) = accuracies.draw(options, [surface], None, {}).axes
    assert [sum(bar.get_height() for bar in bars) for bars in axes.containers] == [3, 2]


def test_the_new_protocol_centres_as_it_says() -> None:
    (protocol,) = eval("{" + block_with("docs/extending.md", "text", "centred") + "}", vars(batch_norm)).values()
    mean, variance = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    assert protocol.statistics([], lambda: [(mean, variance)])[0][0].equal(mean)
    assert protocol.statistics([], lambda: [(mean, variance)])[0][1].equal(torch.ones(2))


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="pip install -r envs/requirements-docs.txt")
def test_the_site_builds_strictly(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for page in (ROOT / "docs").glob("*.md"):
        built = (tmp_path / page.with_suffix(".html").name).read_text(encoding="utf-8")
        assert not re.search(r"""<(script|link|img)[^>]+(src|href)=["']?(https?:)?//(?!localhost)""", built), (
            "loads from elsewhere"
        )
