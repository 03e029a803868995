"""Draw a figure of any kind to <output-stem>.pdf and <output-stem>.png.

    python scripts/draw_figure.py --kind landscapes --surfaces a.nc --output-stem figures/mine/landscapes --spec '{
        "options": {"kind": "landscapes", "panels": [{"experiment": "mine", "mask": "heart"}], "loss_range": [0.4, 256]},
        "panels": [["a.nc", "test", "none"]]}'

The spec's `options` are those of the kind, losspatterns/figures/<kind>.py; `panels` are the surfaces that the figure needs, in
order: file, split, batch norm protocol; `facts` are what else it needs.
"""

import argparse

from losspatterns.config.reading import from_json, read
from losspatterns.errors import InputError, run_script
from losspatterns.figures import kind_module
from losspatterns.figures.style import save_figure, styled
from losspatterns.figures.surfaces import read_surface
from losspatterns.records import artifacts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", required=True, help="a module in losspatterns/figures/")
    parser.add_argument("--spec", required=True, help="JSON: options, panels, facts; see above")
    parser.add_argument("--surfaces", nargs="*", default=[], help="the surface files (.nc) that the panels name")
    parser.add_argument("--scores", nargs="?", help="scores.csv, if the kind needs it")
    parser.add_argument("--output-stem", required=True, help="path of the figure without .pdf and .png")
    arguments = parser.parse_args()

    figures = kind_module(arguments.kind, "--kind")
    spec = {"panels": [], "facts": {}} | from_json("--spec", arguments.spec)
    options = read(figures.Options, "options", spec["options"])
    for file, _, _ in spec["panels"]:
        if file not in arguments.surfaces:
            raise InputError(f"--spec: panels name {file}, which is not among --surfaces")
    surfaces = [read_surface(*panel) for panel in spec["panels"]]
    scores = artifacts.load_table(arguments.scores) if arguments.scores else None
    figure = styled(figures.draw)(options, surfaces, scores, spec["facts"])
    drawn = {"options": options.model_dump(mode="json"), "facts": spec["facts"], "surfaces": [s.origin() for s in surfaces]}
    made_by = artifacts.provenance(figures.__name__, figure=arguments.kind, **drawn)
    save_figure(figure, arguments.output_stem, made_by)


if __name__ == "__main__":
    run_script(main)
