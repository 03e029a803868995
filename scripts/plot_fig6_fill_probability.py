"""Draw figure 6, the batch norm studies, to <output-stem>.pdf and <output-stem>.png.

    python scripts/plot_fig6_fill_probability.py --scores scores.csv --output-stem figures/mine/fig6 --options '{
        "studies": [{"dataset": "fashion_mnist", "networks": ["plain", "bn"], "title": "first",
        "runs": [["square_p30", 0], ["square_p50", 0]]}],
        "bn_protocols": "batch", "labels": {"bn": "batch norm"}, "paper": true}'

Options: studies (a row of panels each: dataset, networks, runs (a mask and a seed each) and, if wanted, title), bn_protocols (a
protocol for every network with batch norm, or a mapping from network to protocol); and, if wanted, labels (names in the legend)
and paper (false leaves the published values out; they are drawn for the networks labelled plain, batch norm and residual).
"""

import argparse

from losspatterns.analysis.study import select_runs
from losspatterns.errors import run_script
from losspatterns.figures.fill_probability import Study, fill_probability, read_studies
from losspatterns.figures.style import save_figure
from losspatterns.records import artifacts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", required=True, help="scores.csv")
    parser.add_argument("--output-stem", required=True, help="path of the figure without .pdf and .png")
    parser.add_argument("--options", required=True, help="JSON object, see above")
    arguments = parser.parse_args()
    options = {"labels": {}, "paper": True} | read_studies(arguments.options)
    scores = artifacts.load_table(arguments.scores)
    studies = []
    for entry in options["studies"]:
        chosen = {key: entry[key] for key in ("dataset", "networks", "runs")}
        runs = select_runs(scores, **chosen, bn_protocols=options["bn_protocols"])
        studies.append(Study(runs, entry["networks"], entry.get("title", "")))
    figure = fill_probability(studies, options["labels"], options["paper"])
    made_by = artifacts.provenance(figure="fig6_fill_probability", options=options)
    save_figure(figure, arguments.output_stem, made_by)


if __name__ == "__main__":
    run_script(main)
