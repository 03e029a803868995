"""The figure of the benchmarks: means over seeds, the rows that it names, and text that can be read."""

import pandas as pd
import pytest
from figure_checks import check_layout, check_texts
from lib.figure import benchmarks

FASHION = "FashionMNIST, bundled subset"
LABELS = {"paper": "paper", "fast": "fast", "tau_2_5": "fast, tau 2.5 nats"}


def benchmark_tables(seeds=(0, 1), masks=("knight", "random_square_p50"), batch_norm=(False, True)):
    """Made-up tables of the benchmarks; the gap of `fast` at its last checkpoint is 0.5 for seed 0 and 0.6 for seed 1."""
    shared = {"device_name": "Some Processor(R) with a Long Name @ 2.00GHz", "threads": 1, "network": "study_batchnorm"}
    quality = [
        {"mask": mask, "variant": variant, "recipe": variant if variant in ("paper", "fast") else "fast", "seed": seed}
        | {"image_passes": passes, "seconds": passes / 5000, "gap": best * passes / 400_000 + seed / 10}
        | {"network": "study_batchnorm", "dataset_label": FASHION}
        for mask in masks
        for variant, best in (("paper", 0.05), ("fast", 0.5), ("tau_2_5", 0.3))
        for seed in seeds
        for passes in (0, 25_000, 100_000, 400_000)
    ]
    throughput = [
        {**shared, "batch_norm": normed, "pixels": pixels, "images": images, "engine": engine, "share_of_matmul": share}
        | {"precision": precision}
        for normed in batch_norm
        for pixels in (8, 64)
        for images in (2, 16)
        for engine, precision, share in (
            ("ours", "float32", pixels / 1000),
            ("ours", "bfloat16", pixels / 500),
            ("plain", "float32", 0.02),
        )
    ]
    surfaces = [
        {**shared, "batch_norm": normed, "engine": engine, "points": 64, "images": 500}
        | {"evaluations_per_second": rate, "low": 0.8 * rate, "high": 1.2 * rate}
        for normed in batch_norm
        for engine, rate in (("ours", 40_000.0), ("plain", 20_000.0))
    ]
    memory = [
        {"mask": f"m{k}", "network": "conv", "weights": 1000, "pixels": k, "plane_bytes": 12_004, "models_bytes": 4000 * k}
        for k in (90, 96, 300, 320)
    ]
    tables = {"quality": quality, "throughput": throughput, "surfaces": surfaces, "memory": memory}
    return {name: pd.DataFrame(rows) for name, rows in tables.items()}


@pytest.mark.parametrize("tables", [benchmark_tables(), benchmark_tables((0,), ("knight",), (False,))])
def test_the_benchmarks_can_be_read(tables):
    figure = benchmarks(**tables, labels=LABELS)
    check_layout(figure)
    check_texts(figure, FASHION, "1,000")


def test_the_benchmarks_draw_means_over_seeds_and_the_rows_they_name():
    figure = benchmarks(**benchmark_tables(masks=("knight",)), labels=LABELS)
    passes, seconds, share, points, memory = figure.axes
    paper, fast, thin = passes.lines[:3]
    assert fast.get_xdata().tolist() == [25_000, 100_000, 400_000]  # no zero on a logarithmic axis
    assert fast.get_ydata() == pytest.approx([0.5 / 16 + 0.05, 0.5 / 4 + 0.05, 0.55])
    assert seconds.lines[1].get_xdata() == pytest.approx([5, 20, 80])
    band = passes.collections[1].get_paths()[0].get_extents()
    assert (band.ymin, band.ymax) == pytest.approx((0.5 / 16, 0.6))
    assert paper.get_linewidth() == fast.get_linewidth() > thin.get_linewidth()
    assert len({line.get_color() for line in (paper, fast, thin)}) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(LABELS.values())
    assert sorted({round(y, 3) for line in share.lines for y in line.get_ydata()}) == [0.02, 0.064, 0.128]  # 64 pixels alone
    shown = [text.get_text() for text in share.get_legend().get_texts()]
    assert shown == ["this engine", "in bfloat16", "plain loop", "with batch norm"]
    tables = benchmark_tables()
    one_precision = tables | {"throughput": tables["throughput"][tables["throughput"].precision == "float32"]}
    *_, share, _, _ = benchmarks(**one_precision, labels=LABELS).axes
    assert "in bfloat16" not in [text.get_text() for text in share.get_legend().get_texts()]
    assert [bar.get_height() for bar in points.patches] == [40_000, 20_000, 40_000, 20_000]
    models, plane = memory.lines
    assert models.get_ydata() == pytest.approx([0.36, 0.384, 1.2, 1.28]) and set(plane.get_ydata()) == {0.012004}
    note = " ".join(text.get_text() for text in figure.texts)
    assert "mean of 2 seeds" in note and "Some Processor(R)" in note and "1 thread" in note
    assert "(d) network study batchnorm" in note and "(e) network conv, 1,000 weights" in note


def test_the_small_panels_of_the_benchmarks_show_one_network_where_they_can():
    tables = benchmark_tables()
    for name in ("surfaces", "memory"):
        first = tables[name].assign(network="other", evaluations_per_second=1.0, models_bytes=1)
        tables[name] = pd.concat([first, tables[name].assign(network="study_batchnorm")])
    figure = benchmarks(**tables, labels=LABELS)
    *_, points, memory = figure.axes
    assert [bar.get_height() for bar in points.patches] == [40_000, 20_000, 40_000, 20_000]
    assert memory.lines[0].get_ydata() == pytest.approx([0.36, 0.384, 1.2, 1.28])
    assert "other" not in " ".join(text.get_text() for text in figure.texts)
