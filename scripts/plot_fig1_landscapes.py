"""Draw figure 1, landscapes, to <output-stem>.pdf and <output-stem>.png.

    python scripts/plot_fig1_landscapes.py --surfaces a.npz b.npz \\
        --output-stem figures/mine/fig1_landscapes --options '{"loss_range": [0.4, 256]}'

Options: loss_range, auto or [low, high] in nats.
"""

from losspatterns.errors import run_script
from losspatterns.figures.command import draw_surfaces
from losspatterns.figures.landscapes import landscapes

if __name__ == "__main__":
    run_script(lambda: draw_surfaces("fig1_landscapes", __doc__, landscapes))
