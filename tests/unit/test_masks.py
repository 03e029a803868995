"""Masks: the right way up, trained where the rule says, recoverable from the file, and clear about bad input."""

import json
import os
import re
import runpy
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from losspatterns.config.reading import read
from losspatterns.data import masks, svg
from losspatterns.data.mask_settings import Mask, parse_mask
from losspatterns.errors import InputError
from losspatterns.records.artifacts import PROVENANCE_KEY, load_mask, save_mask
from PIL import Image
from scipy.ndimage import label

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_mask.py"
SIZES = [(3, 3), (3, 8), (8, 3), (7, 12), (20, 20), (31, 17)]
ENTRIES = {
    "glyph": {"kind": "glyph", "character": "F", "size": [24, 20]},
    "text": {"kind": "text", "text": "MPO", "size": [12, 40]},
    "random_square": {"kind": "random_square", "size": [30, 30], "probability": 0.5, "seed": 1},
    "grid": {"kind": "grid", "cells": [2, 3], "size": [12, 18]},
    "ascii": {"kind": "ascii", "rows": ["#..#.", ".....", ".##..", "....."]},
}
GLYPH, GRID, SQUARE = ENTRIES["glyph"], ENTRIES["grid"], ENTRIES["random_square"]
BOX = {"kind": "random_points", "sides": [2, 2], "seed": 0}
LP = {"kind": "voxels", "letters": ["L", "P"], "side": 10}


def settings(**entry):
    return parse_mask("masks.m", entry)


def drawn(**entry):
    """The binary picture of a config entry."""
    return masks.binary("m", settings(**entry))


def random_pictures(size, count=20):
    """Pictures from sparse to dense, each with both colours, and with areas large enough to be ignored."""
    generator = np.random.default_rng(0)
    for share in np.linspace(0, 1, count):
        picture = generator.random(size) < share**3
        picture.flat[:2] = generator.permutation([True, False])
        yield picture


def dark_left_half(path, mode="L"):
    """A square image file, dark on its left half and light on its right."""
    pixels = np.full((40, 40), 230, dtype=np.uint8)
    pixels[:, :20] = 20
    Image.fromarray(pixels).convert(mode).save(path)
    return str(path)


@pytest.mark.parametrize("kind", ENTRIES)
def test_every_kind_gives_a_mask_of_both_colours_in_its_size(kind):
    made = settings(**ENTRIES[kind])
    mask, picture = masks.make_mask("m", made)
    assert mask.shape == picture.shape == made.size
    assert mask.dtype == np.int8 and picture.dtype == bool
    assert {-1, 1} <= set(np.unique(mask))
    assert (mask[mask != 0] > 0).tolist() == picture[mask != 0].tolist()
    assert (masks.fill(mask) == picture).all()
    again = read(Mask, "masks.m", json.loads(made.model_dump_json()))
    assert again == made and (masks.binary("m", again) == picture).all()


def test_glyph_stands_upright():
    picture = drawn(kind="glyph", character="F", size=[24, 24])
    rows, columns = np.nonzero(picture)
    inked = picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert inked[:, 0].all(), "the bar of an F is at the left"
    assert inked[0].all(), "its longest arm is at the top"
    assert inked[-1].sum() < inked.shape[1] / 2, "and it stands on the bar alone"
    assert abs(rows.min() + rows.max() - 23) <= 1 and abs(columns.min() + columns.max() - 23) <= 1, "it is centred"


def test_glyph_keeps_its_aspect_in_any_size():
    tall, square, wide = (drawn(kind="glyph", character="■", size=size) for size in ([60, 30], [30, 30], [30, 60]))
    assert tall.sum() == square.sum() == wide.sum() > 0


def test_a_pasted_variation_selector_is_ignored():
    assert settings(kind="glyph", character="♥\ufe0f", size=[9, 9]) == settings(kind="glyph", character="♥", size=[9, 9])


@pytest.mark.parametrize("pasted, plain", [("a\u00adb", "ab"), ("a\u2028b", "a\nb"), ("a\u2029b", "a\nb")])
def test_what_a_page_hides_in_a_text_is_not_drawn(pasted, plain):
    assert settings(kind="text", text=pasted, size=[9, 9]) == settings(kind="text", text=plain, size=[9, 9])


def columns_of_ink(text, kind="text"):
    """How many white pixels each column has, of those from the first to the last with any."""
    ink = drawn(kind=kind, **{"text" if kind == "text" else "character": text}, size=[30, 90]).sum(axis=0)
    return np.trim_zeros(ink)


def test_text_from_right_to_left_begins_at_the_right():
    yod_and_shin, shin_and_yod = columns_of_ink("יש"), columns_of_ink("שי")  # a narrow letter and a wide one
    narrow = yod_and_shin.tolist().index(0), shin_and_yod.tolist().index(0)  # columns before the first gap
    assert narrow[0] > 2 * narrow[1]


def test_arabic_letters_are_joined():
    joined, apart = (drawn(kind="text", text=text, size=[30, 90]) for text in ("سس", "سدس"))
    assert label(joined)[1] == 1 < label(apart)[1]


@pytest.mark.parametrize("kind", ["glyph", "text"])
def test_a_letter_with_its_accent_is_one_character(kind):
    key = "character" if kind == "glyph" else "text"
    composed, decomposed = (settings(**{"kind": kind, key: text, "size": [20, 20]}) for text in ("é", "e\u0301"))
    assert composed == decomposed
    plain, accented = (drawn(**{"kind": kind, key: text, "size": [40, 40], "margin": 0}) for text in ("G", "G\u0303"))
    assert label(plain)[1] == 1 and label(accented)[1] == 2, "the accent stands apart, above the letter"


def test_text_that_needs_a_layout_which_pillow_lacks_is_one_line(monkeypatch):
    monkeypatch.setattr(masks.features, "check", lambda feature: False)
    assert drawn(**ENTRIES["text"]).any()
    with pytest.raises(InputError, match=r"^masks\.m\.text: 'ש' needs a layout that pillow lacks here; install .*FriBiDi"):
        drawn(kind="text", text="ש", size=[9, 9])


def test_ascii_rows_read_as_written():
    picture = drawn(kind="ascii", rows=["#..", "#..", "##."])
    assert picture.tolist() == [[True, False, False], [True, False, False], [True, True, False]]


def test_grid_is_a_checkerboard_white_at_the_top_left():
    picture = drawn(kind="grid", cells=[2, 3], size=[4, 6])
    assert picture.astype(int).tolist() == [[1, 1, 0, 0, 1, 1]] * 2 + [[0, 0, 1, 1, 0, 0]] * 2


@pytest.mark.parametrize("size", [[30, 30], [9, 14]])
def test_random_square_has_a_black_border_and_a_white_ring(size):
    picture = drawn(kind="random_square", size=size, probability=0.5, seed=3)
    border, ring = np.ones(size, bool), np.zeros(size, bool)
    border[1:-1, 1:-1] = False
    ring[1:-1, 1:-1] = True
    ring[2:-2, 2:-2] = False
    assert not picture[border].any() and picture[ring].all()


def test_random_square_is_decided_by_its_seed_and_probability():
    def inside(probability, seed):
        return drawn(kind="random_square", size=[54, 54], probability=probability, seed=seed)[2:-2, 2:-2]

    assert (inside(0.5, 7) == inside(0.5, 7)).all()
    assert (inside(0.5, 7) != inside(0.5, 8)).any()
    for probability in (0.1, 0.5, 0.9):
        assert inside(probability, 0).mean() == pytest.approx(probability, abs=0.04)
    assert not inside(0, 0).any() and inside(1, 0).all()


def insides(probability, seeds, size=20):
    """bool (squares, pixels): what is drawn at random in squares of these seeds."""
    pictures = [
        drawn(kind="random_square", size=[size + 4, size + 4], probability=probability, seed=seed) for seed in range(seeds)
    ]
    return np.stack([picture[2:-2, 2:-2].ravel() for picture in pictures])


def test_random_squares_of_other_probabilities_are_not_nested():
    """A pixel that is white at 0.3 is as likely white at 0.7 as any other: the squares of a seed share no random numbers."""
    few, many = insides(0.3, seeds=40), insides(0.7, seeds=40)
    assert (few & ~many).any(axis=1).all()
    both, count = (few & many).mean(), few.size
    assert both == pytest.approx(0.3 * 0.7, abs=5 * np.sqrt(0.21 * 0.79 / count))


def test_random_squares_are_independent():
    """Of other seeds and of other probabilities, one as of the other: correlations of their pixels are 0 up to chance."""
    seeds = 40
    squares = np.concatenate([insides(probability, seeds) for probability in (0.1, 0.5, 0.9)]).astype(float)
    pairs = np.corrcoef(squares)[np.triu_indices(len(squares), 1)]
    chance = 1 / np.sqrt(squares.shape[1])
    assert abs(pairs.mean()) < 5 * chance / np.sqrt(len(pairs))
    assert pairs.std() == pytest.approx(chance, rel=0.05)
    assert abs(pairs).max() < 6 * chance


@pytest.mark.parametrize("size", SIZES)
def test_ternary_ignores_pixels_whose_whole_neighbourhood_agrees(size):
    for picture in random_pictures(size):
        expected = np.zeros(size, dtype=np.int8)
        for i in range(size[0]):
            for j in range(size[1]):
                around = picture[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
                if (around != picture[i, j]).any():
                    expected[i, j] = 1 if picture[i, j] else -1
        assert (masks.ternary(picture) == expected).all()


@pytest.mark.parametrize("size", [*SIZES, (80, 50)])
def test_fill_recovers_the_picture(size):
    for picture in random_pictures(size):
        assert (masks.fill(masks.ternary(picture)) == picture).all()


@pytest.mark.parametrize("mask", [[[0, 0], [0, 0]], [[1, 0, -1]]])
def test_fill_refuses_a_mask_that_decides_no_colour(mask):
    with pytest.raises(InputError, match="no trained pixel decides"):
        masks.fill(np.array(mask, dtype=np.int8))


def test_ternary_false_trains_every_pixel():
    mask, picture = masks.make_mask("m", settings(**ENTRIES["glyph"], ternary=False))
    assert (mask == np.where(picture, 1, -1)).all()


def test_permuted_moves_pixels_about_by_its_seed():
    plain = drawn(**ENTRIES["glyph"])
    first, again, second = (drawn(**ENTRIES["glyph"], permuted=seed) for seed in (1, 1, 2))
    assert (first == again).all() and (first != second).any() and (first != plain).any()
    assert first.shape == plain.shape and first.sum() == second.sum() == plain.sum()
    mask, picture = masks.make_mask("m", settings(**ENTRIES["glyph"], permuted=1))
    assert (mask == masks.ternary(first)).all() and (masks.fill(mask) == picture).all()


def test_a_mask_that_is_not_permuted_is_written_without_the_key():
    made = settings(**ENTRIES["glyph"], permuted=None)
    assert made == settings(**ENTRIES["glyph"])
    assert "permuted" not in made.model_dump(mode="json") and "permuted" not in made.model_dump_json()
    assert settings(**ENTRIES["glyph"], permuted=0).model_dump(mode="json")["permuted"] == 0


def test_image_light_is_white_and_invert_swaps(tmp_path):
    path = dark_left_half(tmp_path / "half.png")
    picture = drawn(kind="image", path=path, size=[10, 10])
    assert not picture[:, :5].any() and picture[:, 5:].all()
    assert (drawn(kind="image", path=path, size=[10, 10], invert=True) == ~picture).all()
    assert drawn(kind="image", path=path, size=[10, 10], threshold=0.05).all()


def test_image_keeps_its_aspect_on_a_white_page(tmp_path):
    picture = drawn(kind="image", path=dark_left_half(tmp_path / "half.png"), size=[10, 20])
    assert (~picture).sum() == 50 and not picture[:, 5:10].any()


def test_transparent_is_white(tmp_path):
    pixels = np.zeros((8, 8, 4), dtype=np.uint8)
    pixels[:4, :, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "alpha.png")
    picture = drawn(kind="image", path=str(tmp_path / "alpha.png"), size=[8, 8])
    assert not picture[:4].any() and picture[4:].all()


@pytest.mark.parametrize(
    "mode, suffix", [("1", "png"), ("P", "gif"), ("CMYK", "jpg"), ("I;16", "png"), ("LA", "webp"), ("L", "bmp")]
)
def test_image_files_of_every_mode_agree(tmp_path, mode, suffix):
    path = tmp_path / f"half.{suffix}"
    if mode == "I;16":
        Image.fromarray(np.tile(np.repeat(np.array([5000, 60000], np.uint16), 20), (40, 1))).save(path)
    else:
        dark_left_half(path, mode)
    picture = drawn(kind="image", path=str(path), size=[8, 8])
    assert not picture[:, :4].any() and picture[:, 4:].all()


@pytest.mark.parametrize("depth", ["8 bits", "I;16", "16 bits, PGM"])
def test_white_is_the_largest_number_that_a_pixel_can_have(tmp_path, depth):
    values = np.tile(np.repeat([0.2, 0.9], 20), (40, 1))
    path = tmp_path / "half.tif"
    if depth == "16 bits, PGM":
        path.write_bytes(b"P5 40 40 65535\n" + (values * 65535).astype(">u2").tobytes())
    else:
        Image.fromarray((values * 255).astype(np.uint8) if depth == "8 bits" else (values * 65535).astype(np.uint16)).save(path)
    assert not drawn(kind="image", path=str(path), size=[8, 8], threshold=0.85)[:, :4].any()
    assert drawn(kind="image", path=str(path), size=[8, 8], threshold=0.85)[:, 4:].all()


def grey_tiff(pixels, photometric=1, sample_format=1):
    """The bytes of a grey TIFF of these numbers, which says how they are meant."""
    rows, columns = pixels.shape
    fields = {256: columns, 257: rows, 258: 8 * pixels.itemsize, 259: 1, 262: photometric, 273: 134, 277: 1, 278: rows}
    fields |= {279: pixels.nbytes, 339: sample_format}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields.items())
    return b"II*\0" + struct.pack("<IH", 8, len(fields)) + entries + bytes(4) + pixels.tobytes()


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_tiff_may_call_zero_white(tmp_path, depth):
    values = np.tile(np.repeat(np.array([0, np.iinfo(depth).max], depth), 20), (40, 1))
    (tmp_path / "a.tif").write_bytes(grey_tiff(values, photometric=0))
    picture = drawn(kind="image", path=str(tmp_path / "a.tif"), size=[8, 8])
    assert picture[:, :4].all() and not picture[:, 4:].any()


@pytest.mark.parametrize("mode", ["F", "I", "signed"])
def test_numbers_that_have_no_white_are_refused(tmp_path, mode):
    path, said = tmp_path / "a.tif", rf"32 bits a pixel \(mode {mode}\), .*save it with 8"
    if mode == "signed":
        path.write_bytes(grey_tiff(np.full((8, 8), -5, np.int8), sample_format=2))
        said = r"numbers with a sign \(mode L\), which have no fixed"
    else:
        Image.new(mode, (8, 8), 1).save(path)
    with pytest.raises(InputError, match=rf"^masks\.m\.path: '.*a\.tif': {said}"):
        drawn(kind="image", path=str(path), size=[8, 8])


@pytest.mark.parametrize("bits", [8, 16])
def test_one_grey_may_be_transparent(tmp_path, bits):
    """A dark disc, its page being what the file calls transparent: black."""
    values = np.zeros((40, 40), np.uint8 if bits == 8 else np.uint16)
    values[10:30, 10:30] = 60 * 257 ** (bits // 8 - 1)
    Image.fromarray(values).save(tmp_path / "a.png", transparency=0)
    picture = drawn(kind="image", path=str(tmp_path / "a.png"), size=[8, 8])
    assert not picture[2:6, 2:6].any() and picture.sum() == 48


@pytest.mark.parametrize("suffix, told", [("gif", True), ("tif", True), ("webp", True), ("png", True), ("mpo", False)])
def test_a_file_of_several_pictures_is_told(tmp_path, suffix, told):
    first, second = (Image.fromarray(np.uint8(np.indices((16, 16))[axis] // 8 * 255)) for axis in (0, 1))
    first.save(tmp_path / f"a.{suffix}", save_all=True, append_images=[second])
    entries = [{"kind": "image", "size": [8, 8]}, {"kind": "photograph", "size": [8, 8], "tones": "two"}]
    for entry in entries:
        lines = []
        picture = masks.binary("m", settings(path=str(tmp_path / f"a.{suffix}"), **entry), lines.append)
        assert not picture[:4].any() and picture[4:].all()
        assert ["has 2 frames or pages; the first one is taken" in line for line in lines] == [True] * told


WHITE_DISC = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 10"><circle cx="5" cy="5" r="5" fill="white"/></svg>'


def test_white_on_a_transparent_page_is_drawn_from_its_transparency(tmp_path):
    path, lines = tmp_path / "disc.svg", []
    path.write_text(WHITE_DISC.replace('fill="white"', ""))
    disc = drawn(kind="image", path=str(path), size=[20, 20])
    path.write_text(WHITE_DISC)
    picture = masks.binary("m", settings(kind="image", path=str(path), size=[20, 20]), lines.append)
    assert (picture == ~disc).all() and 0 < picture.sum() < 200, "its page is black, also above and below it"
    (line,) = lines
    assert line.startswith(f"masks.m.path: '{path}': its colours show nothing") and "its opaque part is white" in line
    assert (drawn(kind="image", path=str(path), size=[20, 20], invert=True) == disc).all()


@pytest.mark.parametrize("body", ["", '<g id="nothing"/>', '<rect width="4" height="0"/>', "<circel r='9'/>"])
def test_an_svg_that_draws_nothing_is_told_so(tmp_path, body):
    (tmp_path / "a.svg").write_text(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9">{body}</svg>')
    with pytest.raises(InputError, match=r"^masks\.m: found only white pixels, .*; take one that is not blank$"):
        masks.make_mask("m", settings(kind="image", path=str(tmp_path / "a.svg"), size=[20, 20]))


def drawn_svg(tmp_path, body, page='width="96" height="96"'):
    (tmp_path / "a.svg").write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {page}>{body}</svg>')
    return drawn(kind="image", path=str(tmp_path / "a.svg"), size=[48, 48])


@pytest.mark.parametrize("unit, inch", [("px", 96), ("mm", 25.4), ("cm", 2.54), ("in", 1), ("pt", 72), ("pc", 6)])
def test_svg_lengths_may_have_units(tmp_path, unit, inch):
    expected = drawn_svg(tmp_path, '<circle cx="48" cy="48" r="24"/>')
    page = f'width="{inch}{unit}" height="{inch}{unit}"'
    assert (drawn_svg(tmp_path, '<circle cx="48" cy="48" r="24"/>', page) == expected).all()
    inside = f'<circle cx="48" cy="48" r="{inch / 4}{unit}"/>'
    assert (drawn_svg(tmp_path, inside, page) == expected).all() and 0 < (~expected).sum() < expected.sum()


SVG_TEXT = '<text x="4" y="70" font-size="64" font-family="{}">{}</text>'


@pytest.mark.parametrize(
    "families, font",
    [
        ("sans-serif", "DejaVu Sans"),
        ("Arial, sans-serif", "DejaVu Sans"),
        ("cursive", "DejaVu Sans"),
        ("monospace", "DejaVu Sans Mono"),
        ("Times, serif", "DejaVu Serif"),
    ],
)
def test_svg_text_in_a_generic_family_is_drawn_in_dejavu(tmp_path, families, font):
    picture = drawn_svg(tmp_path, SVG_TEXT.format(families, "Rg"))
    assert not picture.all()
    assert (picture == drawn_svg(tmp_path, SVG_TEXT.format(font, "Rg"))).all()


PAGE = '<foreignObject width="9" height="9"><p xmlns="http://www.w3.org/1999/xhtml">hi</p></foreignObject>'


@pytest.mark.parametrize(
    "body, message",
    [
        (SVG_TEXT.format("Arial", "Rg"), 'text in the font "Arial", which is not here; turn the text into paths, or name'),
        (SVG_TEXT.format("Arial, Helvetica", "Rg"), 'text in the font "Arial", "Helvetica", which is not here'),
        (SVG_TEXT.format("serif", "木"), r"No fonts with a 木/U\+6728 character were found; turn the text into paths"),
        (PAGE, "its <foreignObject> cannot be drawn"),
        (f"<switch>{PAGE}</switch>", "its <foreignObject> cannot be drawn"),
        ("<flowRoot><flowPara>hi</flowPara></flowRoot>", "its <flowRoot> cannot be drawn; turn it into paths"),
        ('<defs><meshgradient id="m"/></defs>', "its <meshgradient> cannot be drawn"),
        (
            '<image width="9" height="9" href="data:image/bmp;base64,Qk0="/>',
            "it draws in another file or format, 'data:image/bmp;base64': ",
        ),
    ],
)
def test_what_an_svg_cannot_draw_is_named(tmp_path, body, message):
    with pytest.raises(InputError, match=rf"^masks\.m\.path: '.*a\.svg' is not a readable SVG \(.*{message}") as caught:
        drawn_svg(tmp_path, '<rect width="9" height="9"/>' + body)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "body, line",
    [
        ("<script>draw()</script>", "its <script> does nothing here"),
        ('<circle r="9"><animate attributeName="r" to="40"/></circle>', "its <animate> does nothing here"),
        ('<use href="#no"/>', "it refers to #no, which is not there"),
        ('<rect width="30" height="30" fill="url(#no)"/>', "it refers to #no, which is not there"),
        ('<rect width="30" height="30" style="fill:red; filter:url(#no)"/>', "it refers to #no, which is not there"),
        ('<rect width="4" height="4" fill="nocolour"/>', "Failed to parse fill value: 'nocolour'. Fallback to black."),
    ],
)
def test_what_an_svg_says_in_vain_is_told_once(tmp_path, body, line):
    (tmp_path / "a.svg").write_text(f'<svg xmlns="http://www.w3.org/2000/svg"><rect width="99" height="9"/>{body}</svg>')
    lines = []
    masks.make_mask("m", settings(kind="image", path=str(tmp_path / "a.svg"), size=[48, 48]), lines.append)
    assert [told for told in lines if line in told] == lines and len(lines) == 1


def test_what_an_svg_says_to_readers_and_editors_is_passed_over(tmp_path):
    (tmp_path / "a.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:i="http://i" viewBox="0 0 9 9"><title>t</title><desc>d</desc><i:view/>'
        '<metadata><rdf xmlns="http://r"/></metadata><a href="#no"><filter id="f"><feGaussianBlur stdDeviation="1"/></filter>'
        '<rect width="5" height="9" style="fill:#000;filter:none;enable-background:new"/></a></svg>'
    )
    lines = []
    masks.make_mask("m", settings(kind="image", path=str(tmp_path / "a.svg"), size=[48, 48]), lines.append)
    assert lines == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_svg_may_have_any_encoding_that_it_names(tmp_path, encoding):
    text = SVG_TEXT.format("sans-serif", "é")
    (tmp_path / "b.svg").write_bytes(
        f'<?xml version="1.0" encoding="{encoding}"?><svg xmlns="http://www.w3.org/2000/svg" xmlns:x="http://www.w3.org/1999/xlink"'
        f' width="96" height="96"><defs><g id="t">{text}</g></defs><use x:href="#t"/></svg>'.encode(encoding)
    )
    assert (drawn(kind="image", path=str(tmp_path / "b.svg"), size=[48, 48]) == drawn_svg(tmp_path, text)).all()


@pytest.mark.parametrize(
    "text, message",
    [
        ('<?xml-stylesheet href="a.css"?><svg xmlns="http://www.w3.org/2000/svg"/>', "its style sheet is another file"),
        (f"<svg>{'<g>' * 5000}{'</g>' * 5000}</svg>", "maximum recursion depth"),
    ],
)
def test_an_svg_that_is_refused_in_any_encoding(tmp_path, text, message):
    (tmp_path / "a.svg").write_text(text, encoding="utf-16")
    with pytest.raises(InputError, match=rf"a\.svg' is not a readable SVG \({message}"):
        drawn(kind="image", path=str(tmp_path / "a.svg"), size=[9, 9])


def test_an_svg_draws_what_it_has_in_place_of_a_piece_of_a_web_page(tmp_path):
    assert not drawn_svg(tmp_path, f'<switch>{PAGE}<circle cx="48" cy="48" r="24"/></switch>').all()


def test_svg_is_drawn_with_its_aspect(tmp_path):
    path = tmp_path / "bar.svg"
    path.write_text('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 10"><rect width="5" height="10"/></svg>')
    picture = drawn(kind="image", path=str(path), size=[20, 20])
    expected = np.ones((20, 20), bool)
    expected[5:15, :5] = False
    assert (picture == expected).all()


@pytest.mark.parametrize("page", ['width="100%" height="100%"', 'width="50%" height="2in"', 'width="3cm" height="100%"'])
def test_an_svg_of_relative_size_has_the_aspect_of_its_contents(tmp_path, page):
    path = tmp_path / "bar.svg"
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {page} viewBox="0 0 20 10"><rect width="25%" height="10"/></svg>')
    picture = drawn(kind="image", path=str(path), size=20)
    assert picture.shape == (10, 20) and not picture[:, :5].any() and picture[:, 5:].all()


@pytest.mark.parametrize(
    "entry, message",
    [
        ({"kind": "blob", "size": [9, 9]}, "kind: found 'blob', expected one of glyph, text, image"),
        ({"kind": ["glyph"]}, r"kind: found \['glyph'\], expected one of glyph, text, image"),
        ({"size": [9, 9]}, "kind: missing; expected one of glyph, text, image"),
        (GLYPH | {"colour": 1}, r"colour: unknown key; kind glyph has .*character, margin"),
        (GLYPH | {"kind": "grid"}, "character: unknown key; kind grid has .*cells; .*write character: null"),
        (GRID | {"size": 24}, r"size: found 24, expected \[rows, columns\]"),
        (GLYPH | {"size": [24]}, r"size: found \[24\], expected \[rows, columns\]"),
        (GLYPH | {"size": {3, 4}}, r"size: found \{3, 4\}, expected \[rows, columns\]"),
        (GLYPH | {"size": [2, 24]}, r"size\[0\]: found 2; input should be greater than or equal to 3"),
        (GLYPH | {"size": [24, 1001]}, r"size\[1\]: found 1001; input should be less than or equal to 1000"),
        (SQUARE | {"size": [4, 30]}, r"size\[0\]: found 4; input should be greater than or equal to 5"),
        ({"kind": "glyph", "character": "F"}, "size: missing"),
        (GLYPH | {"character": "FG"}, "character: found 'FG', expected one character"),
        (GLYPH | {"character": "木"}, r"character: found '木' \(U\+6728\), which the font DejaVuSans lacks"),
        (GLYPH | {"character": "🇩🇪"}, r"character: found '🇩' \(U\+1F1E9\), which the font .* lacks"),
        (GLYPH | {"character": "👍🏽"}, r"character: found '👍' \(U\+1F44D\), which the font .* lacks"),
        (GLYPH | {"character": "\ufe0f"}, "character: found '', expected one character"),
        (ENTRIES["text"] | {"text": "a木"}, r"text: found '木' \(U\+6728\), which the font DejaVuSans-Bold lacks"),
        (ENTRIES["text"] | {"text": "  "}, "text: found '  ', expected a text in quotes, not empty"),
        (GLYPH | {"margin": 0.5}, r"margin: found 0\.5; input should be less than 0\.5"),
        (GLYPH | {"threshold": float("nan")}, "threshold: found nan; input should be a finite number"),
        (SQUARE | {"probability": 1.5}, r"probability: found 1\.5; input should be less than or equal to 1"),
        (GRID | {"cells": [13, 3]}, r"cells: found \[13, 3\], expected at most the size \[12, 18\]"),
        ({"kind": "image", "path": "a\0b", "size": 9}, r"path: found 'a\\x00b', expected a path, which is not empty"),
        ({"kind": "image", "path": "", "size": 9}, "path: found '', expected a path, which is not empty"),
        ({"kind": "ascii", "rows": ["#..", "#.", "..."]}, r"rows\[1\]: found 2 characters, expected 3"),
        ({"kind": "ascii", "rows": ["#..", "...", ".o."]}, r"rows\[2\]: found 'o', expected only '#' "),
        ({"kind": "ascii", "rows": ["#.", ".."]}, "rows: found 2 rows of 2 characters, expected 3 to 1000 of each"),
        ({"kind": "ascii", "rows": ["#..", "...", "..."], "size": [3, 3]}, "size: unknown key"),
        (BOX | {"sides": [2] * 7}, "sides: .*at most 6"),
        (BOX | {"sides": [1, 4]}, r"sides\[0\]: found 1; input should be greater than or equal to 2"),
        (BOX | {"sides": [1000, 1000, 2]}, ".*at most 1,000,000 points"),
        (LP | {"letters": ["L"]}, r"letters: found \['L'\], expected \[front, side\]"),
        (LP | {"letters": ["LP", "P"]}, r"letters\[0\]: found 'LP', expected one letter"),
    ],
)
def test_bad_entries_are_named(entry, message):
    with pytest.raises(InputError, match=rf"^masks\.m\.{message}") as caught:
        read(Mask, "masks.m", entry)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "entry, found",
    [
        ({"kind": "grid", "cells": [1, 1], "size": [9, 9]}, "white"),
        ({"kind": "ascii", "rows": ["..."] * 3}, "black"),
        ({"kind": "glyph", "character": " ", "size": [9, 9]}, "black"),
        ({"kind": "glyph", "character": "F", "size": [9, 9], "threshold": 0}, "white"),
    ],
)
def test_a_picture_of_one_colour_is_refused(entry, found):
    with pytest.raises(InputError, match=rf"masks\.m: found only {found} pixels"):
        masks.make_mask("m", settings(**entry))


@pytest.mark.parametrize("threshold", [0, 1])
def test_advice_on_the_threshold_of_a_picture_of_one_colour_helps(tmp_path, threshold):
    Image.fromarray(np.tile(np.repeat(np.array([100, 150], np.uint8), 20), (40, 1))).save(tmp_path / "grey.png")
    entry = {"kind": "image", "path": str(tmp_path / "grey.png"), "size": [8, 8]}
    with pytest.raises(InputError, match="set threshold above 0.392 and at most 0.588$") as caught:
        masks.make_mask("m", settings(**entry, threshold=threshold))
    low, high = map(float, re.findall(r"0\.\d+", str(caught.value)))
    masks.make_mask("m", settings(**entry, threshold=(low + high) / 2))


def test_unreadable_images_are_named(tmp_path):
    def refused(name, message):
        with pytest.raises(InputError, match=rf"masks\.m\.path: .*{message}") as caught:
            drawn(kind="image", path=str(tmp_path / name), size=[9, 9])
        assert "\n" not in str(caught.value) and name in str(caught.value)

    refused("missing.png", "cannot be read .No such file")
    (tmp_path / "text.png").write_text("not an image")
    refused("text.png", "not an image")
    (tmp_path / "broken.svg").write_text("<svg")
    refused("broken.svg", "not a readable SVG")
    (tmp_path / "folder").mkdir()
    refused("folder", "cannot be read .not a plain file")
    os.mkfifo(tmp_path / "pipe.png")
    refused("pipe.png", "cannot be read .not a plain file")
    (tmp_path / "loop.png").symlink_to("loop.png")
    refused("loop.png", "cannot be read .Too many levels of symbolic links")
    whole = Path(dark_left_half(tmp_path / "whole.png")).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    refused("cut.png", "broken image")


def test_preview_shows_the_picture_as_it_is():
    picture = drawn(kind="ascii", rows=["...#", "....", "....", "....", "...."])
    mask = masks.ternary(picture)
    page = np.asarray(masks.preview("corner", mask, picture))
    rows, columns = np.nonzero((page == masks.FRAME).all(axis=2))
    inside = page[rows.min() + 1 : rows.max(), columns.min() + 1 : columns.max()]
    scale = inside.shape[0] // 5
    assert inside.shape == (5 * scale, 4 * scale, 3)
    assert (inside == np.kron(masks.mask_colours(mask, picture), np.ones((scale, scale, 1)))).all()
    assert tuple(inside[0, -1]) == masks.WHITE, "pixel (0, W-1) is at the top right"
    assert tuple(inside[0, -scale - 1]) == masks.BLACK
    assert tuple(inside[0, 0]) == tuple(inside[-1, -1]) == masks.IGNORED_BLACK


def arguments(entry):
    """The script's arguments."""
    text = entry if isinstance(entry, str) else json.dumps({"name": "m", **entry})
    return ["--spec", text, "--output", "m.npy", "--preview", "m.png"]


def make_mask(monkeypatch, folder, entry):
    """Run the script in this process."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments(entry)])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def test_script_writes_mask_and_preview(tmp_path, monkeypatch):
    command = [sys.executable, SCRIPT, *arguments(ENTRIES["ascii"])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    mask = load_mask(tmp_path / "m.npy")
    assert (mask == masks.make_mask("m", settings(**ENTRIES["ascii"]))[0]).all()
    counts = tuple(int((mask == value).sum()) for value in (1, -1, 0))
    assert done.stdout == "m: 4 x 5 pixels, {} white, {} black, {} ignored; {} to train\n".format(
        *counts, counts[0] + counts[1]
    )
    made_by = json.loads(Image.open(tmp_path / "m.png").text[PROVENANCE_KEY])
    assert made_by["mask"] == "m" and made_by["spec"]["rows"] == ENTRIES["ascii"]["rows"]
    first = (tmp_path / "m.png").read_bytes()
    make_mask(monkeypatch, tmp_path, ENTRIES["ascii"])
    assert (tmp_path / "m.png").read_bytes() == first, "equal inputs give equal bytes"


@pytest.mark.parametrize(
    "entry, message",
    [
        ({"kind": "image", "path": "missing.png", "size": [9, 9]}, "masks.m.path: 'missing.png' cannot be read (No such file"),
        ("{kind: glyph}", "--spec: found '{kind: glyph}', expected JSON ("),
    ],
)
def test_script_explains_bad_input_in_one_line(tmp_path, monkeypatch, capsys, entry, message):
    with pytest.raises(SystemExit) as ended:  # its text goes to the standard error, its status is 1
        make_mask(monkeypatch, tmp_path, entry)
    assert ended.value.code.startswith(f"error: {message}") and "\n" not in ended.value.code
    assert capsys.readouterr().out == "" and list(tmp_path.iterdir()) == []


def test_masks_survive_their_file(tmp_path):
    mask, picture = masks.make_mask("m", settings(**ENTRIES["glyph"]))
    save_mask(tmp_path / "m.npy", mask, {})
    assert (masks.fill(load_mask(tmp_path / "m.npy")) == picture).all()


@pytest.mark.parametrize(("shades", "told"), [(2, False), (256, True)])
def test_a_picture_that_loses_its_shades_is_told(tmp_path, shades, told):
    across = np.arange(64) * shades // 64 * 255 // (shades - 1)
    Image.fromarray(np.tile(across.astype(np.uint8), (64, 1))).save(tmp_path / "p.png")
    said = []
    masks.make_mask("p", parse_mask("masks.p", {"kind": "image", "path": str(tmp_path / "p.png"), "size": 16}), said.append)
    assert [re.search(r"has shades, which are lost", line) is not None for line in said] == [True] * told


# --- Pictures of other numbers of axes than two


@pytest.mark.parametrize("sides", [[64], [8, 8], [4, 2, 2, 2, 2], [3, 5]])
def test_half_of_random_points_are_white_and_all_are_trained(sides):
    one, other = (masks.make_mask("m", settings(kind="random_points", sides=sides, seed=seed)) for seed in (0, 1))
    mask, picture = one
    assert picture.shape == tuple(sides) and picture.sum() == picture.size // 2
    assert (mask == np.where(picture, 1, -1)).all() and not np.array_equal(picture, other[1])


def test_a_solid_reads_as_one_letter_from_the_front_and_as_another_from_the_side():
    mask, picture = masks.make_mask("m", settings(**LP))
    front, side = picture.any(2), picture.any(1)
    assert front[1:-1, 1].all() and front[-2, 1:-1].all() and not front[1:5, 5:].any()  # L
    assert side[1:-1, 1].all() and side[1, 1:6].all() and side[3, -2] and not side[-3:-1, 5:].any()  # P
    assert np.array_equal(picture, front[:, :, None] & side[:, None, :])
    assert np.array_equal(masks.fill(mask), picture)
    padded = np.pad(picture, 1, mode="edge")
    for point in np.ndindex(picture.shape):
        around = padded[tuple(slice(i, i + 3) for i in point)]
        assert (mask[point] == 0) == (around.all() or not around.any())


def test_a_letter_that_the_other_one_hides_is_refused():
    with pytest.raises(InputError, match=r"masks\.m\.letters\[1\]: found 'P', which does not show where 'i' has rows without"):
        masks.make_mask("m", settings(**LP | {"letters": ["i", "P"], "side": 12}))


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4), (4, 4, 2, 2), (2, 2, 2, 2, 2, 2)])
def test_slices_stand_side_by_side_and_none_is_lost(shape):
    places = masks.side_by_side(shape)
    assert sorted(places[places >= 0]) == list(range(np.prod(shape)))
    *outer, rows, columns = shape if len(shape) > 1 else (1, *shape)
    whole = np.arange(np.prod(shape)).reshape(*outer, rows, columns)
    assert np.array_equal(places[:rows, :columns], whole[(0,) * len(outer)])
    if outer:
        assert np.array_equal(places[-rows:, -columns:], whole[(-1,) * len(outer)])
        second = places[:rows, columns + 1 : 2 * columns + 1]
        assert np.array_equal(second, whole[(*[0] * (len(outer) - 1), 1)]) and (places[:, columns] == -1).all()


@pytest.mark.parametrize("entry", [LP, {"kind": "random_points", "sides": [2] * 6, "seed": 0}])
def test_the_preview_of_slices_shows_as_many_pixels(entry):
    mask, picture = masks.make_mask("m", settings(**entry))
    image = np.asarray(masks.preview("m", mask, picture))
    assert (image == masks.WHITE).all(-1).sum() >= (mask == 1).sum() * masks.SLICE_PIXEL**2


@pytest.mark.parametrize(
    ("limit", "value", "octaves", "told"),
    [
        ("SECONDS", 1, 9999, "it takes more than 1 s to draw; simplify it"),
        ("BYTES", 1 << 20, 1, "it cannot be drawn: more than 1 MiB of memory?"),
    ],
)
def test_an_svg_that_takes_too_much_time_or_memory_is_told(
    monkeypatch: pytest.MonkeyPatch, limit: str, value: int, octaves: int, told: str
) -> None:
    filtered = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><filter id="f"><feTurbulence numOctaves="{}"/></filter>'
    )
    filtered = filtered.format(octaves) + '<rect width="9" height="9" filter="url(#f)"/></svg>'
    monkeypatch.setattr(svg, limit, value)
    with pytest.raises(ValueError, match=f"^{re.escape(told)}"):
        svg.render_svg(filtered.encode(), 2000)
