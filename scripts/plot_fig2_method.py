"""Draw figure 2, the method on one surface, to <output-stem>.pdf and <output-stem>.png.

    python scripts/plot_fig2_method.py --surfaces a.npz \\
        --output-stem figures/mine/fig2_method --options '{"loss_range": [0.4, 256]}'

Options: loss_range, auto or [low, high] in nats.
"""

from losspatterns.errors import InputError, run_script
from losspatterns.figures.command import draw_surfaces
from losspatterns.figures.method import method


def draw(surfaces, **options):
    """The figure of the one surface given."""
    if len(surfaces) != 1:
        raise InputError(f"--surfaces: found {len(surfaces)} files, expected one")
    return method(surfaces[0], **options)


if __name__ == "__main__":
    run_script(lambda: draw_surfaces("fig2_method", __doc__, draw))
