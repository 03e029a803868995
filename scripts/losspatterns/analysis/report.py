"""Tables for readers, in HTML for the report (parts of a page, which stand in its opening text and alone) and in Markdown."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from ..records.artifacts import CLOCK

STYLE = """\
<style>
.losspatterns { border-collapse: collapse; font: 13px/1.4 sans-serif; color: #222; background: #fff; margin: 1em 0; }
.losspatterns th { position: sticky; top: 0; background: #e8eef3; text-align: left; vertical-align: bottom; }
.losspatterns th, .losspatterns td { padding: 3px 9px; border-bottom: 1px solid #ddd; vertical-align: top; }
</style>
"""


def html(table: pd.DataFrame) -> str:
    """A table as HTML with a style of its own, without clock times; numbers have three digits, large ones are whole."""
    table = table.drop(columns=list(CLOCK), errors="ignore").rename(columns=lambda name: name.replace("_", " "))
    with pd.option_context("display.max_colwidth", None):
        return STYLE + table.to_html(index=False, border=0, classes="losspatterns", na_rep="", float_format=_digits) + "\n"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """What was trained, a row for each data set that was really used."""
    planes = scores[scores["control"] == "trained"].drop_duplicates(["dataset", "mask", "network", "seed"])
    rows = []
    for label, group in planes.groupby("dataset_label", sort=False):
        squares = group["probability"].notna()
        row = {"data": label, "pictures": in_words(group.loc[~squares, "mask"])}
        row |= {"random squares": group.loc[squares, "mask"].nunique(), "networks": in_words(group["network"])}
        rows.append({**row, "planes": len(group), "image passes": f"{group['image_passes'].sum():,}"})
    return pd.DataFrame(rows)


def in_words(values: pd.Series) -> str:
    """Names of the config as a reader sees them, each once."""
    return ", ".join(values.str.replace("_", " ").unique())


def ends(scores: pd.DataFrame, study: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables without states during training: scores with trained planes first; of the study, the largest budget and the
    comparison at an equal objective."""
    final = scores[scores["control"] != "snapshot"].drop(columns="dataset_label")
    final = final.sort_values("control", key=lambda control: control != "trained", kind="stable")
    passes = study["image_passes"]
    largest = passes == passes.groupby([study["study"], study["probability"]]).transform("max")
    return final, study[largest | (study["at"] == "objective")]


def markdown(head: Sequence[str], rows: Iterable[Sequence[Any]], numbers: bool = False) -> str:
    """A table in Markdown; `numbers` stand at the right, in all columns but the first."""
    lines = [head, ["---", *["---:" if numbers else "---"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(str(cell).replace('|', '&#124;') for cell in line)} |\n" for line in lines)
