"""The pages to explore surfaces: their numbers against the surface file's, and what a reader meets in a real browser."""

import base64
import importlib.util
import io
import json
import os
import re
import shutil
import sys
import time
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import draw_page
import numpy as np
import pytest
import write_pages
from losspatterns.errors import InputError
from losspatterns.explore.pages import page, read_plane
from losspatterns.figures.style import loss_scale
from losspatterns.figures.surfaces import read_surface
from losspatterns.records.artifacts import load_labelled, load_table, read_record, save_labelled, save_table
from PIL import Image

AXES = ("stage", "split", "protocol", "row", "column")
STAGES, SPLITS, PROTOCOLS = ["untrained", "update 10", "trained"], ["train", "test"], ["batch", "identity"]
HOSTILE = "</script><script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\"> & {{ 'x' }} <b>"
CLASSES = ["cat", HOSTILE, "dog", "eel"]
MASK = np.array([[1, -1, 0, 1, -1, 0, 1], [1, 1, 1, -1, -1, -1, 0], [0, 0, 1, 1, 1, -1, -1], [-1] * 7, [1] * 7], dtype=np.int8)
PAGE = "data/letters/net/seed3.html"


def passes_of(stage: str) -> int:
    """What the training up to a stage has cost."""
    return {"untrained": 0, "trained": 2000}[stage] if stage in ("untrained", "trained") else 100 * int(stage.split()[-1])


def write_film(path: Path, **changes: Any) -> str:
    """A file of surfaces of the same plane, with a snapshot more, on fewer points and images."""
    stages = ["untrained", "update 5", "trained"]
    given = {"stages": stages, "padding": 0, "splits": ["test"], "protocols": ["batch"], "images": 20}
    return write_surface(path, **(given | changes))


def write_surface(
    path: Path,
    stages: list[str] = STAGES,
    mask: np.ndarray = MASK,
    padding: int = 1,
    mask_name: str = "letters",
    splits: list[str] = SPLITS,
    protocols: list[str] = PROTOCOLS,
    classes: list[str] = CLASSES,
    images: int = 51,
    target: np.ndarray | None = None,
) -> str:
    """A file of made-up surfaces, every number another. The second split has no image of the first class."""
    rows, columns = (np.arange(-padding, side + padding, dtype=float) for side in mask.shape)
    labels = (stages, splits, protocols, rows, columns)
    shape = tuple(map(len, labels))
    generator = np.random.default_rng(images)
    number = np.arange(images)
    of_classes = [np.bincount(k + number % (len(classes) - k), minlength=len(classes)) for k in range(len(splits))]
    of_classes = np.stack(of_classes)
    correct = generator.binomial(of_classes[:, None, :, None, None], generator.uniform(size=(*shape[:3], 1, *shape[3:])))
    values = {
        "loss": (AXES, np.exp(2 * generator.normal(size=shape))),
        "accuracy": (AXES, correct.sum(3) / images),
        "correct": ((*AXES[:3], "class", *AXES[3:]), correct.astype(np.int32)),
        "class": (("class",), classes),
        "class_images": (("split", "class"), of_classes.astype(np.int32)),
        "mask": (("mask_row", "mask_column"), mask),
        "images": (("split", "image"), np.arange(len(splits) * images).reshape(len(splits), images)),
        "image_passes": (("stage",), [passes_of(stage) for stage in stages]),
    }
    if target is not None:
        values["target"] = (("mask_row", "mask_column", "channel"), target)
    made_by = {
        "dataset": {"name": "data", "label": HOSTILE},
        "mask": {"name": mask_name, "kind": "text", "text": HOSTILE},
        "network": {"name": "net", "batch_norm": True},
        "seed": 3,
    }
    save_labelled(path, values | {axis: ((axis,), label) for axis, label in zip(AXES, labels, strict=True)}, made_by)
    return str(path)


def write_scores(path: Path, mask_name: str = "letters") -> str:
    """Scores of the trained and the untrained plane, the gap of each row another."""
    rows = [
        {"dataset": "data", "mask": mask_name, "network": "net", "seed": 3, "split": split, "bn_protocol": protocol}
        | {"accuracy_gap": 0.5 + k / 8 + (split == "test") / 16, "loss_white": float("nan"), "control": control}
        | {"image_passes": passes}
        for k, (control, passes) in enumerate((("untrained", 0), ("trained", 2000)))
        for split in SPLITS
        for protocol in PROTOCOLS
    ]
    save_table(path, rows, {})
    return str(path)


def run(script: Any, *arguments: str) -> None:
    """A script with these arguments."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [script.__name__, *arguments])
        script.main()


def written(folder: Path) -> Path:
    """The pages of one plane, written by the script into a folder."""
    folder.mkdir()
    of = "--surfaces", write_surface(folder / "a.nc"), "--scores", write_scores(folder / "scores.csv")
    run(write_pages, "--scale", "toy", *of, "--output", str(folder / "explore"))
    return folder / "explore"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("pages") / "pages")


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a plane with a film, as a file for itself; beside it its surfaces, a.nc, and those of the film, f.nc."""
    folder = tmp_path_factory.mktemp("filmed")
    surfaces = write_surface(folder / "a.nc", ["untrained", "trained"]), "--film", write_film(folder / "f.nc")
    run(draw_page, "--surfaces", *surfaces, "--output", str(folder / "letters.html"))
    return folder / "letters.html"


@pytest.fixture(scope="module")
def surfaces(pages: Path) -> Any:
    """What the surface file behind the page holds."""
    return load_labelled(pages.parent / "a.nc")[0]


class Parsed(HTMLParser):
    """The scripts and addresses of a page."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script" and self.scripts and not self.scripts[-1]:
            self.scripts[-1] = data


def data_of(file: Path) -> dict[str, Any]:
    """What the page's script is given."""
    return json.loads(Parsed(file).scripts[0])


def holds(block: dict[str, Any], surfaces: Any) -> bool:
    """Whether a block of a page holds the numbers of a surface file."""
    loss, correct = (
        np.frombuffer(zlib.decompress(base64.b64decode(packed["data"])), packed["type"]).reshape(surfaces[name].shape)
        for name in ("loss", "correct")
        for packed in [block[name]]
    )
    np.testing.assert_allclose(loss, surfaces["loss"].values, rtol=1e-6)
    np.testing.assert_array_equal(correct, surfaces["correct"].values)
    assert block["class_images"] == dict(zip(block["split"], surfaces["class_images"].values.tolist(), strict=True))
    return all(block[axis] == surfaces[axis].values.tolist() for axis in AXES[1:])


def stage(name: str, block: int, index: int) -> dict[str, Any]:
    """What a page says of a stage."""
    return {"name": name, "image_passes": passes_of(name), "block": block, "index": index}


def test_the_page_holds_the_numbers_of_the_file(pages: Path, surfaces: Any) -> None:
    data = data_of(pages / PAGE)
    [block] = data["blocks"]
    assert holds(block, surfaces) and data["stages"] == [stage(name, 0, k) for k, name in enumerate(STAGES)]
    assert data["mask"] == MASK.tolist() and data["classes"] == CLASSES
    gaps = {(row["control"], row["split"], row["bn_protocol"]): row["accuracy_gap"] for row in data["scores"]}
    assert gaps["trained", "test", "batch"] == 0.6875 and len(gaps) == 8
    assert data["scores"][0]["loss_white"] is None


def test_a_film_adds_its_snapshots_with_their_own_points_and_images(filmed: Path) -> None:
    data = data_of(filmed)
    surfaces, film = (load_labelled(filmed.with_name(name))[0] for name in ("a.nc", "f.nc"))
    assert all(holds(*pair) for pair in zip(data["blocks"], (surfaces, film.sel(stage=["update 5"])), strict=True))
    assert data["stages"] == [stage("untrained", 0, 0), stage("update 5", 1, 0), stage("trained", 0, 1)]
    assert data["scores"] is None


def test_pages_of_a_folder_show_the_films_of_their_planes(filmed: Path, tmp_path: Path) -> None:
    files = {name: str(filmed.with_name(name)) for name in ("a.nc", "f.nc")}
    of = "--surfaces", files["a.nc"], "--films", files["f.nc"], "--scores", write_scores(tmp_path / "scores.csv")
    run(write_pages, "--scale", "toy", *of, "--output", str(tmp_path / "explore"))
    assert len(data_of(tmp_path / "explore" / PAGE)["blocks"]) == 2
    assert set(read_record(tmp_path / "explore/index.html")["inputs"]) >= {"a.nc", "f.nc"}


def test_a_page_for_itself_needs_no_other_file(filmed: Path) -> None:
    parsed = Parsed(filmed)
    assert parsed.tags.count("script") == 3 and all(address.startswith("data:") for address in parsed.addresses)
    assert set(read_record(filmed)["inputs"]) >= {"a.nc", "f.nc"}
    assert filmed.stat().st_size < 6e6


def test_surfaces_that_do_not_suit_are_named(tmp_path: Path) -> None:
    path, film = write_surface(tmp_path / "a.nc"), write_film(tmp_path / "f.nc", mask_name="other")
    with pytest.raises(InputError, match=r"f\.nc: its mask is not that of .*a\.nc, so it is the film of another plane"):
        read_plane(path, film=film)
    data, made_by = load_labelled(path)
    older = {name: (variable.dims, variable.values) for name, variable in data.variables.items() if name != "correct"}
    save_labelled(tmp_path / "old.nc", older, made_by)
    with pytest.raises(InputError, match=r"old\.nc: found no `correct` .*; evaluate it again"):
        read_plane(tmp_path / "old.nc")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_loss_has_the_colour_that_figures_give_it(pages: Path, protocol: str) -> None:
    found = data_of(pages / PAGE)["loss_scales"][protocol]
    scale = loss_scale([read_surface(pages.parent / "a.nc", split, protocol) for split in SPLITS])
    assert [found["low"], found["high"]] == [scale.norm.vmin, scale.norm.vmax] and found["ticks"] == scale.ticks
    places = [place for place, _ in found["colours"]]
    assert places == sorted(places) and (places[0], places[-1]) == (0, 1)
    losses = found["low"] * (found["high"] / found["low"]) ** np.array(places)
    np.testing.assert_allclose(scale.norm(losses), np.linspace(0, 1, len(places)), atol=1e-4)


def test_names_are_text_and_nothing_is_loaded_from_elsewhere(pages: Path) -> None:
    for name in (PAGE, "index.html"):
        parsed = Parsed(pages / name)
        assert parsed.tags.count("script") == (3 if name == PAGE else 0) and not {"b", "iframe"} & set(parsed.tags)
        for address in parsed.addresses:
            assert address.startswith("data:") or ((pages / name).parent / address).is_file(), address
    assert not re.search(
        "https?:", "".join((pages / name).read_text() for name in (PAGE, "index.html", "explore.js", "explore.css"))
    )


def test_equal_inputs_give_equal_pages_and_the_index_vouches_for_them(pages: Path, tmp_path: Path) -> None:
    again = written(tmp_path / "again")
    files = [file.relative_to(pages) for file in sorted(pages.rglob("*")) if file.suffix in (".html", ".js", ".css")]
    assert len(files) == 5 and all((pages / file).read_bytes() == (again / file).read_bytes() for file in files)
    record = read_record(pages / "index.html")
    assert set(record["made_by"]["pages"]) == {str(file) for file in files} - {"index.html"}
    assert {Path(name).name for name in record["inputs"]} == {"a.nc", "scores.csv"}


@pytest.mark.parametrize(("classes", "images"), [(10, 500), (10, 5000), (2, 50)])
def test_a_page_of_twenty_stages_has_at_most_8_megabytes(tmp_path: Path, classes: int, images: int) -> None:
    stages = ["untrained", *(f"update {k}" for k in range(1, 19)), "trained"]
    of = {"classes": [f"class {k}" for k in range(classes)], "images": images}
    path = write_surface(tmp_path / "big.nc", stages, np.resize(MASK, (54, 54)), padding=3, **of)
    plane = read_plane(path, load_table(write_scores(tmp_path / "scores.csv")))
    assert len(page(plane, PAGE).encode()) < 8e6


def test_scores_that_lack_the_plane_are_named(tmp_path: Path) -> None:
    path = write_surface(tmp_path / "a.nc")
    with pytest.raises(InputError, match=r"a\.nc: the scores have no row of its plane, data/letters/net/3; score it first"):
        read_plane(path, load_table(write_scores(tmp_path / "scores.csv", "other")))


def test_names_that_are_numbers_are_found_in_the_scores(tmp_path: Path) -> None:
    path = write_surface(tmp_path / "a.nc", mask_name="007")
    assert len(read_plane(path, load_table(write_scores(tmp_path / "scores.csv", "007"))).data["scores"]) == 8


# In a browser
def missing() -> str:
    """What a test in a browser lacks here, or nothing."""
    found = {"chromium": shutil.which("chromium"), "chromedriver": shutil.which("chromedriver")}
    found["selenium"] = importlib.util.find_spec("selenium")
    lacking = ", ".join(name for name, where in found.items() if not where)
    return lacking and f"needs {lacking}: apt-get install chromium chromium-driver; pip install -r envs/requirements-dev.txt"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium without a window, which keeps downloads in `browser.downloads`."""
    if reason := missing():
        (pytest.fail if os.environ.get("REQUIRE_CHROMIUM") else pytest.skip)(reason)
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.binary_location = shutil.which("chromium")
    with webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver"))) as driver:
        driver.set_page_load_timeout(120)
        driver.downloads = tmp_path_factory.mktemp("downloads")
        driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(driver.downloads)})
        yield driver


def wait_for(condition: Any, seconds: float = 60) -> Any:
    """What `condition` gives once that is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return found


class Reader:
    """A reader before a page, as wide as told."""

    def __init__(self, browser: Any, page: Path, width: int = 1400, height: int = 900) -> None:
        self.browser = browser
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get_log("browser")
        browser.get(page.as_uri())
        wait_for(lambda: self.ask("document.documentElement.dataset.ready"))

    def ask(self, expression: str, *arguments: Any) -> Any:
        return self.browser.execute_script(f"return {expression}", *arguments)

    def find(self, selector: str) -> Any:
        return self.browser.find_element("css selector", selector)

    def text(self, selector: str) -> str:
        return self.find(selector).text

    def choose(self, name: str, value: str) -> None:
        self.find(f"input[name={name}][value={value}]").click()

    def traces(self) -> list[str]:
        return self.ask("plot.data.map((trace) => trace.type)")

    def heights(self) -> np.ndarray:
        return np.array(self.ask("plot.data[0].z"))

    def point(self, row: int, column: int) -> Any:
        """A mouse that moves to a point of the map, in pixel coordinates of the picture."""
        from selenium.webdriver import ActionChains

        where = (
            "const {_offset: x, d2p} = plot._fullLayout.xaxis, y = plot._fullLayout.yaxis, box = plot.getBoundingClientRect();"
        )
        x, y = self.browser.execute_script(
            f"{where} return [box.x + x + d2p(arguments[0]), box.y + y._offset + y.d2p(arguments[1])]", column, row
        )
        actions = ActionChains(self.browser)
        actions.w3c_actions.pointer_action.move_to_location(x, y)
        return actions

    def table(self, selector: str) -> list[list[str]]:
        return self.ask(
            "[...document.querySelectorAll(`${arguments[0]} tr`)].map((r) => [...r.cells].map((c) => c.textContent))", selector
        )

    def errors(self) -> list[str]:
        return [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.fixture
def reader(browser: Any, pages: Path) -> Iterator[Reader]:
    """At a laptop; no error may be on the console at the end."""
    reader = Reader(browser, pages / PAGE)
    yield reader
    assert reader.errors() == []


def shown(surfaces: Any, name: str = "loss", **where: Any) -> np.ndarray:
    """What the file holds, of the trained plane on test images under the first protocol if not told otherwise."""
    return surfaces[name].sel({"stage": "trained", "split": "test", "protocol": "batch"} | where).values


def test_the_page_opens_with_the_trained_test_loss(reader: Reader, surfaces: Any) -> None:
    assert reader.traces() == ["heatmap"]
    low, high = reader.ask("[plot.data[0].zmin, plot.data[0].zmax]")
    np.testing.assert_allclose(reader.heights(), np.clip(np.log(shown(surfaces)), low, high), rtol=1e-5, atol=1e-6)
    assert reader.text("#stage-now") == "trained, 2,000 image passes"
    assert HOSTILE in reader.text("header p")
    assert "letters" in reader.ask("document.title") and reader.ask("document.title") != "taken"
    assert all(name.startswith("file:") for name in reader.ask("performance.getEntriesByType('resource').map((r) => r.name)"))


def test_every_choice_changes_what_is_shown(reader: Reader, surfaces: Any) -> None:
    for name, value, where in (
        ("split", "train", {"split": "train"}),
        ("protocol", "identity", {"split": "train", "protocol": "identity"}),
    ):
        reader.choose(name, value)
        low, high = reader.ask("[plot.data[0].zmin, plot.data[0].zmax]")
        expected = np.clip(np.log(shown(surfaces, **where)), low, high)
        np.testing.assert_allclose(reader.heights(), expected, rtol=1e-5, atol=1e-6)
    reader.choose("quantity", "accuracy")
    np.testing.assert_allclose(reader.heights(), shown(surfaces, "accuracy", **where), rtol=1e-5)
    assert reader.table("#scores")[1] == ["gap", "0.625", "0.500", "\N{EN DASH}"]
    reader.choose("view", "relief")
    assert reader.traces() == ["surface"]
    reader.find("[name=mask]").click()
    assert reader.traces() == ["surface", "scatter3d"]
    assert len(reader.ask("plot.data[1].x")) == np.count_nonzero(MASK)


def test_hovering_tells_the_numbers_of_the_file(reader: Reader, surfaces: Any) -> None:
    for row, column, colour in ((1, 3, "black"), (0, 0, "white"), (2, 1, "ignored"), (-1, 4, "outside the picture")):
        reader.point(row, column).perform()
        loss, accuracy = (
            float(surfaces[name].sel(stage="trained", split="test", protocol="batch", row=row, column=column))
            for name in ("loss", "accuracy")
        )
        words = f"row {row}, column {column} · {colour} · loss {float(f'{loss:.4g}'):g}"
        wait_for(lambda words=words: words in reader.text("#readout"))
        assert f"accuracy {accuracy:.3f}" in reader.text("#readout")
        label = wait_for(lambda: reader.ask("document.querySelector('.hoverlayer')?.textContent"))
        assert f"loss {float(f'{loss:.4g}'):g}" in label and colour in label


def test_the_relief_tells_and_pins_the_point_under_the_mouse(reader: Reader, surfaces: Any) -> None:
    from selenium.webdriver import ActionChains

    reader.choose("view", "relief")
    middle = ActionChains(reader.browser).move_to_element(reader.find("#plot"))
    middle.perform()
    told = wait_for(lambda: re.match(r"row (-?\d+), column (-?\d+) · .* · accuracy (\S+)$", reader.text("#readout")))
    accuracy = shown(surfaces, "accuracy")[int(told[1]) + 1, int(told[2]) + 1]
    assert told[3] == f"{accuracy:.3f}"
    middle.click().perform()
    wait_for(lambda: reader.table("#points")[1:2] == [["row, column", f"{told[1]}, {told[2]}"]])


def test_clicked_points_are_compared_and_let_go(reader: Reader, surfaces: Any) -> None:
    assert reader.table("#points") == [["None yet."]]
    reader.point(1, 3).click().perform()
    wait_for(lambda: len(reader.table("#points")[0]) == 2)
    reader.point(3, 5).click().perform()
    wait_for(lambda: len(reader.table("#points")[0]) == 4)
    table = {row[0]: row[1:] for row in reader.table("#points")}
    assert table["row, column"][:2] == ["1, 3", "3, 5"] and table["pixel"][:2] == ["black", "black"]
    first, second = (float(shown(surfaces, "accuracy")[row + 1, column + 1]) for row, column in ((1, 3), (3, 5)))
    difference = f"{second - first:.3f}".replace("-", "\N{MINUS SIGN}")
    assert table["test accuracy"] == [f"{first:.3f}", f"{second:.3f}", difference]
    reader.point(1, 3).click().perform()
    wait_for(lambda: [row[1] for row in reader.table("#points")][:2] == ["A", "3, 5"])


def by_class(surfaces: Any, *points: tuple[int, int], **where: str) -> list[list[str]]:
    """What the page should say of the classes at pinned points."""
    chosen = surfaces.sel({"stage": "trained", "split": "test", "protocol": "batch"} | where)
    rows = []
    for k, (name, images) in enumerate(zip(CLASSES, chosen["class_images"].values.tolist(), strict=True)):
        shares = [int(chosen["correct"].sel(row=row, column=column)[k]) / images for row, column in points if images]
        cells = [*shares, *([shares[1] - shares[0]] if len(shares) == 2 else [])]
        cells = [f"{cell:.3f}".replace("-", "\N{MINUS SIGN}") for cell in cells] or ["\N{EN DASH}"] * (2 * len(points) - 1)
        rows.append([name, str(images), *cells])
    return rows


def test_pinned_points_are_compared_class_by_class(reader: Reader, surfaces: Any) -> None:
    assert not reader.find("#by-class").is_displayed()
    reader.point(1, 3).click().perform()
    wait_for(lambda: reader.table("#classes") == [["class", "images", "A"], *by_class(surfaces, (1, 3))])
    reader.point(-1, 5).click().perform()
    compared = ["class", "images", "A", "B", "B \N{MINUS SIGN} A"]
    wait_for(lambda: reader.table("#classes") == [compared, *by_class(surfaces, (1, 3), (-1, 5))])
    reader.choose("split", "train")
    assert reader.table("#classes") == [compared, *by_class(surfaces, (1, 3), (-1, 5), split="train")]
    assert reader.text("#of-classes").startswith("Share of a class's train images")


def test_a_stage_of_the_film_shows_what_it_has(browser: Any, filmed: Path) -> None:
    from selenium.webdriver import Keys

    film = load_labelled(filmed.with_name("f.nc"))[0]
    reader = Reader(browser, filmed)
    reader.choose("protocol", "identity")
    reader.choose("split", "train")
    reader.point(1, 3).click().perform()
    reader.point(-1, 5).click().perform()  # the film has no such point
    wait_for(lambda: len(reader.table("#points")[0]) == 4)
    assert reader.text("#rests") == "Each point rests on 51 train images."
    slider = reader.find("[name=stage]")
    slider.send_keys(Keys.ARROW_LEFT)
    assert reader.text("#stage-now") == "update 5, 500 image passes"
    missing = ", ".join(reader.text(f"[value={value}] + span") for value in ("train", "identity"))
    assert reader.text("#rests") == f"Each point rests on 20 test images. Not evaluated at this stage: {missing}."
    enabled = {value: reader.find(f"[value={value}]").is_enabled() for value in ("train", "test", "batch", "identity")}
    assert enabled == {"train": False, "test": True, "batch": True, "identity": False}
    place = {"stage": "update 5", "split": "test", "protocol": "batch"}
    low, high = reader.ask("[plot.data[0].zmin, plot.data[0].zmax]")
    np.testing.assert_allclose(reader.heights(), np.clip(np.log(film["loss"].sel(place)), low, high), rtol=1e-5, atol=1e-6)
    table = {row[0]: row[1:] for row in reader.table("#points")}
    accuracy = float(film["accuracy"].sel(place | {"row": 1, "column": 3}))
    assert table["test accuracy"] == [f"{accuracy:.3f}", "\N{EN DASH}", "\N{EN DASH}"]
    assert table["train loss"] == ["\N{EN DASH}"] * 3
    [of_first] = {tuple(row[:3]) for row in reader.table("#classes")[2:3]}
    assert of_first == tuple(by_class(film, (1, 3), stage="update 5")[1])
    slider.send_keys(Keys.ARROW_LEFT)  # what was chosen is there again
    assert reader.text("#rests") == "Each point rests on 51 train images."
    assert reader.ask("[chosen().split, chosen().protocol]") == ["train", "identity"]
    reader.choose("view", "relief")
    slider.send_keys(Keys.ARROW_RIGHT)
    assert reader.traces() == ["surface"] and len(reader.ask("plot.layout.scene.annotations")) == 1
    assert reader.errors() == []


@pytest.mark.parametrize("channels", [1, 3])
def test_a_photograph_is_shown_in_its_shades(browser: Any, tmp_path: Path, channels: int) -> None:
    target = np.log(np.linspace(0.5, 4, MASK.size * channels)).reshape(*MASK.shape, channels)
    surfaces = write_surface(
        tmp_path / "a.nc", mask=np.where(target.mean(-1) < np.log(2), 1, -1).astype(np.int8), target=target
    )
    card = read_plane(surfaces).card("a.html")
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(card["picture"].split(",")[1]))))
    shades = 255 * (target.max() - target) / np.ptp(target)
    np.testing.assert_allclose(picture[1:-1, 1:-1].reshape(shades.shape), shades, atol=1)
    assert (picture[0] == 224).all() and card["gap"].startswith("rank correlation")
    run(draw_page, "--surfaces", surfaces, "--output", str(tmp_path / "a.html"))
    reader = Reader(browser, tmp_path / "a.html")
    reader.point(2, 5).perform()
    wanted = ", ".join(f"{round(nats, 2):g}" for nats in np.exp(target[2, 5]))
    wait_for(lambda: f"column 5 · target {wanted} · loss" in reader.text("#readout"))
    reader.find("input[name=mask]").click()
    fills = wait_for(lambda: reader.ask("plot.data[1]?.marker.color"))
    np.testing.assert_allclose([int(fill[4:-1].split(",")[0]) for fill in fills], shades[..., 0].ravel(), atol=1)
    assert reader.errors() == []


def test_the_slider_moves_over_training(reader: Reader, surfaces: Any) -> None:
    from selenium.webdriver import Keys

    slider = reader.find("[name=stage]")
    reader.choose("quantity", "accuracy")
    for stage, passes in (("update 10", "1,000"), ("untrained", "0")):
        slider.send_keys(Keys.ARROW_LEFT)
        assert reader.text("#stage-now") == f"{stage}, {passes} image passes"
        np.testing.assert_allclose(reader.heights(), shown(surfaces, "accuracy", stage=stage), rtol=1e-5)


def test_points_are_reached_by_keys(reader: Reader) -> None:
    from selenium.webdriver import Keys

    reader.find("#plot").send_keys(Keys.ARROW_UP, Keys.ENTER, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ENTER)
    (first, second) = (tuple(map(float, text.split(", "))) for text in reader.table("#points")[1][1:3])
    assert first[0] == second[0] and second[1] == first[1] + 2
    reader.find("#plot").send_keys(Keys.ESCAPE)
    assert reader.table("#points") == [["None yet."]]


@pytest.mark.parametrize("view", ["map", "relief"])
def test_what_is_shown_is_saved_as_png(reader: Reader, view: str) -> None:
    for file in reader.browser.downloads.iterdir():
        file.unlink()
    reader.choose("view", view)
    reader.find("#download").click()
    file = wait_for(lambda: next(reader.browser.downloads.glob("*.png"), None))
    assert file.name == "data-letters-net-seed3-test-loss-trained.png"
    with Image.open(file) as image:
        assert image.size[0] == 2 * reader.ask("plot.clientWidth") and np.asarray(image.convert("RGB")).std() > 10


def test_the_index_leads_to_every_page(browser: Any, pages: Path) -> None:
    browser.get((pages / "index.html").as_uri())
    (link,) = browser.find_elements("css selector", ".cards a")
    assert "letters" in link.text and HOSTILE in browser.find_element("css selector", "h2").text
    assert link.get_attribute("href") == (pages / PAGE).as_uri()
    assert all(browser.execute_script("return [...document.images].map((image) => image.naturalWidth === 9)"))


def test_nothing_leaves_a_phone_s_screen(browser: Any, pages: Path) -> None:
    reader = Reader(browser, pages / PAGE, 390, 844)
    assert reader.ask("document.scrollingElement.scrollWidth") <= 390
    for view in ("map", "relief"):
        reader.choose("view", view)
        box = reader.find("#plot").rect
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390 and box["height"] > 300
    assert reader.errors() == []


class Finger:
    """A finger on the reader's screen."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser

    def send(self, kind: str, *points: tuple[float, float]) -> None:
        """A touch event of the browser."""
        given = {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]}
        self.browser.execute_cdp_cmd("Input.dispatchTouchEvent", given)

    def drag(self, x: float, y: float, right: float = 0, down: float = 0) -> None:
        """From a place on the screen, by so many pixels; a tap if it does not move."""
        self.send("touchStart", (x, y))
        for step in range(1, 9) if right or down else ():
            self.send("touchMove", (x + right * step / 8, y + down * step / 8))
        self.send("touchEnd")


@pytest.fixture
def finger(browser: Any) -> Iterator[Finger]:
    """The screen takes touches meanwhile."""
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 1})
    yield Finger(browser)
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


def test_a_phone_is_enough(browser: Any, filmed: Path, finger: Finger) -> None:
    reader = Reader(browser, filmed, 390, 844)

    def middle(selector: str) -> tuple[float, float, float]:
        """Where an element is on the screen, and how wide."""
        reader.ask("document.querySelector(arguments[0]).scrollIntoView({block: 'center'})", selector)
        return tuple(
            reader.ask("(({x, y, width, height}) => [x + width / 2, y + height / 2, width])(arguments[0])", place(selector))
        )

    def place(selector: str) -> dict[str, float]:
        return reader.ask("document.querySelector(arguments[0]).getBoundingClientRect().toJSON()", selector)

    x, y, width = middle("#plot")
    finger.drag(x, y)
    pinned = wait_for(lambda: reader.table("#points")[1:2])
    row, column = map(float, pinned[0][1].split(", "))
    assert reader.text("#readout").startswith(f"row {row:g}, column {column:g}") and reader.find("#classes").is_displayed()
    x, y, width = middle("[name=stage]")
    finger.drag(x + width / 2 - 10, y, right=20 - width)
    wait_for(lambda: reader.text("#stage-now").startswith("untrained"))
    finger.drag(x - width / 2 + 10, y, right=width / 2 - 10)
    wait_for(lambda: reader.text("#stage-now").startswith("update 5"))

    reader.choose("view", "relief")
    camera = "plot._fullLayout.scene._scene.getCamera().eye.x"
    before = wait_for(lambda: reader.ask(f"plot._fullLayout.scene?._scene && {camera}"))

    def turned() -> bool:
        """A drag to the right turns the relief; on a slow machine it may come before the relief is there to be turned."""
        x, y, _ = middle("#plot")
        start = reader.ask("scrollY")
        finger.drag(x, y, right=80)
        time.sleep(1)
        assert reader.ask("scrollY") == start
        return abs(reader.ask(camera) - before) > 0.1

    wait_for(turned)
    assert reader.table("#points")[1:2] == pinned

    def pinned_two() -> bool:
        """A tap pins; where plotly takes too long to tell which point that was, one taps again."""
        x, y, _ = middle("#plot")
        finger.drag(x, y)
        time.sleep(2)
        return len(reader.table("#points")[1]) == 4

    wait_for(pinned_two)
    assert reader.text("#readout").startswith("row {}, column {} ".format(*reader.table("#points")[1][2].split(", ")))

    reader.choose("view", "map")
    x, y, width = middle("#plot")
    start, pinned = reader.ask("scrollY"), reader.table("#points")
    finger.drag(x, y, down=-200)  # scrolls and pins nothing
    wait_for(lambda: reader.ask("scrollY") > start + 50)
    assert reader.table("#points") == pinned and reader.errors() == []
