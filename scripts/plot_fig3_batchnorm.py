"""Draw figure 3, the batch norm comparison, to <output-stem>.pdf and <output-stem>.png.

    python scripts/plot_fig3_batchnorm.py --surfaces a.npz b.npz \\
        --output-stem figures/mine/fig3_batchnorm --options '{"loss_range": [0.4, 256]}'

Options: loss_range, auto or [low, high] in nats.
"""

from losspatterns.errors import run_script
from losspatterns.figures.batchnorm import batch_norm
from losspatterns.figures.command import draw_surfaces

if __name__ == "__main__":
    run_script(lambda: draw_surfaces("fig3_batchnorm", __doc__, batch_norm))
