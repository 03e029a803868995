"""The report's tables: what was trained, in numbers; nothing of a table is cut off or taken for HTML."""

import pandas as pd
from configs import layered, runs_of
from losspatterns.analysis.report import ends, html, summary


def scores() -> pd.DataFrame:
    """Two pictures under two protocols, one square, with their controls."""
    rows = []
    for mask, network, probability, label in (
        ("my_cat", "conv", None, "A & B"),
        ("dog", "conv", None, "A & B"),
        ("p10", "bn", 0.1, "A & B"),
        ("dog", "conv", None, "C"),
    ):
        for protocol in ("batch", "identity"):
            for control, passes in (("shuffled", 1000), ("snapshot", 10), ("trained", 1000), ("untrained", 0)):
                row = {
                    "dataset": label,
                    "mask": mask,
                    "network": network,
                    "seed": 0,
                    "bn_protocol": protocol,
                    "control": control,
                }
                rows.append({**row, "image_passes": passes, "probability": probability, "dataset_label": label})
    return pd.DataFrame(rows)


def test_the_summary_counts_each_plane_once() -> None:
    first, second = summary(scores()).to_dict("records")
    assert first == {
        **{"data": "A & B", "pictures": "my cat, dog", "random squares": 1},
        **{"networks": "conv, bn", "planes": 3, "image passes": "3,000"},
    }
    assert (second["data"], second["planes"], second["random squares"]) == ("C", 1, 0)


def test_states_during_training_are_left_out() -> None:
    rows = [("s", p, at, passes) for p in ("0.1", "all") for at, passes in (("passes", 0), ("passes", 9), ("objective", None))]
    study = pd.DataFrame(rows, columns=["study", "probability", "at", "image_passes"])
    final, final_study = ends(scores(), study)
    assert list(final["control"].unique()) == ["trained", "shuffled", "untrained"] and len(final) == 24
    assert final_study.index.tolist() == [1, 2, 4, 5]
    assert all(table.empty for table in ends(scores()[:0], study[:0]))


def test_a_table_comes_back_from_its_page() -> None:
    text = "<b>x</b> & " + "long " * 30
    page = html(pd.DataFrame({"a_name": [text.strip(), "y"], "value": [1234567.8, 0.12345], "gone": [None, "z"]}))
    assert "&lt;b&gt;x&lt;/b&gt; &amp; " + "long " * 29 + "long</td>" in page
    assert "<th>a name</th>" in page and "<td>1,234,568</td>" in page and "<td>0.123</td>" in page and "<td></td>" in page


def test_figures_have_labels_for_a_reader() -> None:
    figures = {"mine_too": {"kind": "method", "experiment": "fashion_pictures", "mask": "knight"}}
    runs = runs_of(layered("default", {"figures": figures}))
    assert runs.figures["fig4_fashion_mnist"].label == "Figure 4: More pictures"
    assert runs.figures["mine_too"].label == "mine too: The method"
    labels = [figure.label for figure in runs.figures.values()]
    assert len(set(labels)) == len(labels)
