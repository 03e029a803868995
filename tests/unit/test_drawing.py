"""`snakemake draw`: keys of the command line become an ordinary config."""

from pathlib import Path
from typing import Any

import pytest
from configs import layered, runs_of
from losspatterns.drawing import Drawing, drawn
from losspatterns.errors import InputError
from losspatterns.runs.planning import Runs
from losspatterns.runs.settings import check
from PIL import Image
from snakemake.cli import parse_config


def runs(*entries: str) -> Runs:
    """What follows from `--config` with these entries, as Snakemake reads them."""
    return Runs(check(drawn(layered("default", parse_config(entries)))))


def name_of(*entries: str) -> str:
    """What the files are called."""
    return next(iter(runs(*entries).figures))


@pytest.mark.parametrize(
    ("entries", "mask"),
    [
        (["picture=logo.png"], {"kind": "image", "path": "logo.png", "size": 32, "threshold": 0.5, "invert": False}),
        (["picture=logo.png", "invert=true", "threshold=0.3"], {"kind": "image", "threshold": 0.3, "invert": True}),
        (["text=MPO", "size=24"], {"kind": "text", "text": "MPO", "size": 24}),
        (["character=♞", "size=[24,30]"], {"kind": "glyph", "character": "♞", "size": [24, 30]}),
        (["text=!!str 007"], {"kind": "text", "text": "007"}),
    ],
)
def test_one_plane_is_trained_on_what_is_named(entries: list[str], mask: dict[str, Any]) -> None:
    found = runs(*entries)
    [run] = found.runs.values()
    assert found.masks[run.mask].model_dump(mode="json").items() >= mask.items()
    assert (found.settings.scale, run.dataset, run.network, run.seed) == ("draw", "fashion_mnist", "conv", 0)
    assert found.drawn_files() == [f"figures/draw/{run.mask}.{suffix}" for suffix in ("png", "gif", "html")]


def test_data_set_network_and_seed_can_be_chosen() -> None:
    [run] = runs("text=a", "dataset=cifar10", "network=study_batchnorm", "seed=7").runs.values()
    assert (run.dataset, run.network, run.seed) == ("cifar10", "study_batchnorm", 7)


def test_a_file_with_the_keys_does_what_the_command_line_does() -> None:
    assert drawn(layered("default", {"text": "MPO", "size": [5, 9]})) == drawn(
        layered("default", parse_config(["text=MPO", "size=[5,9]"]))
    )


def test_different_pictures_have_different_files() -> None:
    assert name_of("picture=logo.png") == "logo" and name_of("text=MPO") == "text-MPO"
    assert (
        name_of("character=♞") == "black-chess-knight" and name_of("text=a", "size=[5,9]", "seed=3") == "text-a-size-5x9-seed-3"
    )
    others = [
        "logo.png",
        "logo.svg",
        "a/logo.png",
        "b/logo.png",
        "~/logo.png",
        "/logo.png",
        "ü.png",
        "ö.png",
        "x" * 90,
        "x" * 91,
    ]
    names = [name_of(f"picture={path}") for path in others] + [
        name_of(f"text={text}") for text in ("a b", "a-b", "木"[:0] + "é", "è")
    ]
    names += [
        name_of("picture=logo.png", key)
        for key in ("size=8", "size=[8,8]", "invert=1", "seed=1", "threshold=0.4", "threshold=4e-1")
    ]
    assert len(set(names)) == len(names) - 1  # the last two say the same


def test_the_size_follows_the_picture(tmp_path: Path) -> None:
    from losspatterns.data.masks import make_mask

    picture = Image.new("L", (60, 30), "white")
    picture.paste(0, (10, 10, 50, 20))
    picture.save(tmp_path / "wide.png")
    found = runs(f"picture={tmp_path}/wide.png")
    [(name, mask)] = [(name, found.masks[name]) for name in found.figures]
    assert make_mask(name, mask)[0].shape == (16, 32)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], r"draw: found none of them, expected one of picture, text, character, as in --config picture=logo\.png"),
        (["size=24"], r"draw: found none of them, expected one of picture"),
        (["text=a", "picture=logo.png"], r"draw: found picture and text, expected one of"),
        (["text=2026"], r"text: found 2026, which is no text to Snakemake; for one, write '!!str 2026'"),
        (["text=a", "size=2"], r"size: found 2; input should be greater than or equal to 3"),
        (["text=a", "size=[24]"], r"size: found \['24'\], expected \[rows, columns\]"),
        (["text=a", "invert=perhaps"], r"invert: found 'perhaps'; input should be a valid boolean"),
        (["text=a", "seed=-1"], r"seed: found -1; input should be greater than or equal to 0"),
        (
            ["text=a", "dataset=svhn"],
            r"experiments\.draw\.dataset: 'svhn' is not in datasets; known are .*fashion_mnist, cifar10",
        ),
        (["text=a", "network=vgg"], r"experiments\.draw\.networks\[0\]: 'vgg' is not in networks; known are .*conv,"),
        (["character=ab"], r"character: found 'ab', expected one character"),
        (["picture=logo.png", "sise=3"], r"sise: unknown key"),
    ],
)
def test_wrong_keys_end_in_one_line(entries: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        runs(*entries)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(InputError, match=r"^masks\.logo\.path: no such file: logo\.png$"):
        runs_of(drawn(layered("default", {"picture": "logo.png"})))


def test_no_key_is_one_of_an_ordinary_config() -> None:
    assert not set(Drawing.model_fields) & set(layered())


@pytest.mark.parametrize("text", ["Team #1", "Note: MPO", "007", "true", "1e3", "[MPO]", "~", " a "])
def test_what_is_typed_is_what_is_drawn(text: str) -> None:
    """Snakemake reads it as YAML."""
    entries = [f"text={text}"]
    found = Runs(check(drawn(layered("default", parse_config(entries)), entries)))
    assert [mask.text for mask in found.masks.values() if mask.kind == "text" and mask.text == text] == [text]
    named = drawn(layered("default", parse_config(["picture=logo #2.png"])), ["picture=logo #2.png"])
    assert {"kind": "image", "path": "logo #2.png"}.items() <= list(named["masks"].values())[-1].items()


def test_yaml_s_quotes_are_still_quotes_and_another_scale_is_told() -> None:
    for entry in ("text=!!str 007", "text='007'"):
        found = drawn(layered("default", {"text": "007"}), [entry])
        assert list(found["masks"].values())[-1]["text"] == "007"
    with pytest.raises(InputError, match="^scale: found 'mine', but what is drawn goes to the scale draw; remove it$"):
        drawn(layered("default", {"text": "007", "scale": "mine"}), ["text=007", "scale=mine"])
