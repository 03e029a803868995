"""What holds for every figure: nothing lies on anything else, and what was drawn is named."""

import itertools

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text
from matplotlib.transforms import Bbox


def panels(figure: Figure) -> list[Axes]:
    """The drawn surfaces and pictures (axes with an image that is no colour bar), in order."""
    return [axes for axes in figure.axes if any(type(image) is AxesImage for image in axes.images)]


def visible_texts(figure: Figure) -> list[Text]:
    """Every text that a reader sees."""
    figure.canvas.draw()
    texts = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.axes:
        texts += axes.texts + (axes.get_legend().get_texts() if axes.get_legend() else [])
        if not axes.axison:
            continue
        texts += [axes.title, axes._left_title, axes._right_title]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            shown = [tick for tick in axis.get_major_ticks() if low - 1e-9 <= tick.get_loc() <= high + 1e-9]
            texts += [axis.label, *(label for tick in shown for label in (tick.label1, tick.label2))]
    assert all(isinstance(text, Text) for text in texts)
    return [text for text in texts if text.get_visible() and text.get_text()]


def overlap(one: Bbox, other: Bbox) -> bool:
    """Whether two boxes share more than half a pixel in both directions."""
    across = min(one.x1, other.x1) - max(one.x0, other.x0)
    along = min(one.y1, other.y1) - max(one.y0, other.y0)
    return across > 0.5 and along > 0.5


def check_layout(figure: Figure) -> None:
    """No text is too small, leaves the figure, or lies on another text or on a panel."""
    texts = [(text, text.get_window_extent()) for text in visible_texts(figure)]
    width, height = figure.get_size_inches() * figure.dpi
    assert len(texts) > 5 and figure.get_size_inches()[0] <= 6.9 + 1e-9
    for text, box in texts:
        assert text.get_fontsize() >= 6, text.get_text()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, f"{text.get_text()!r} leaves the figure"
    for (text, box), (other, other_box) in itertools.combinations(texts, 2):
        assert not overlap(box, other_box), f"{text.get_text()!r} lies on {other.get_text()!r}"
    for text in figure.texts:
        for axes in panels(figure):
            assert not overlap(text.get_window_extent(), axes.get_window_extent()), f"{text.get_text()!r} lies on a panel"


def check_texts(figure: Figure, *expected: str) -> None:
    """Each of these stands in the figure, perhaps broken into lines."""
    text = " ".join(" ".join(text.get_text() for text in visible_texts(figure)).split())
    for words in expected:
        assert words in text, f"{words!r} is not among {text!r}"
