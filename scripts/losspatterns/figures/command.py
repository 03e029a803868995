"""The command line that the figures drawn from surfaces share: read, check, draw, save."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from matplotlib.figure import Figure

from ..records import artifacts
from .inputs import origin_of, read_options, read_surface
from .style import save_figure


def draw_surfaces(name: str, description: str | None, draw: Callable[..., Figure]) -> None:
    """Parse the command line, call `draw(surfaces, **options)` and save its figure with the provenance of every surface."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--surfaces", nargs="+", required=True, help="surface files (.npz)")
    parser.add_argument("--output-stem", required=True, help="path of the figure without .pdf and .png")
    parser.add_argument("--options", default="{}", help="JSON object, see above")
    arguments = parser.parse_args()
    options = read_options(arguments.options, allowed=("loss_range",))
    surfaces = [read_surface(path) for path in arguments.surfaces]
    figure = draw(surfaces, **options)
    origins = [origin_of(surface) for surface in surfaces]
    save_figure(figure, arguments.output_stem, artifacts.provenance(figure=name, surfaces=origins, options=options))
