"""Draw figure 6, the batch norm study, to <output-stem>.pdf and <output-stem>.png.

    python scripts/plot_fig6_fill_probability.py --scores scores.csv --output-stem figures/mine/fig6 --options '{
        "dataset": "fashion_mnist", "networks": ["plain", "bn"], "masks": ["square_p30", "square_p50"], "seeds": [0, 1],
        "bn_protocols": "batch", "labels": {"bn": "batch norm"}, "paper": true}'

Options: dataset, networks (the order of the curves), masks, seeds, bn_protocols (a protocol for every network with batch
norm, or a mapping from network to protocol); and, if wanted, labels (names in the legend) and paper (false leaves the published
values out; they are drawn for the networks labelled plain, batch norm and residual).
"""

import argparse

from losspatterns import artifacts
from losspatterns.errors import run_script
from losspatterns.figures.fill_probability import fill_probability, read_study
from losspatterns.figures.style import save_figure
from losspatterns.study import select_runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", required=True, help="scores.csv")
    parser.add_argument("--output-stem", required=True, help="path of the figure without .pdf and .png")
    parser.add_argument("--options", required=True, help="JSON object, see above")
    arguments = parser.parse_args()
    options = read_study(arguments.options)
    labels, paper = options.pop("labels", {}), options.pop("paper", True)
    runs = select_runs(artifacts.load_table(arguments.scores), **options)
    figure = fill_probability(runs, options["networks"], labels, paper)
    made_by = artifacts.provenance(figure="fig6_fill_probability", options={**options, "labels": labels, "paper": paper})
    save_figure(figure, arguments.output_stem, made_by)


if __name__ == "__main__":
    run_script(main)
