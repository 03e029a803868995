"""Draw figure 5, pictures with their train and test surfaces, to <output-stem>.pdf and <output-stem>.png.

    python scripts/plot_fig5_cifar10.py --surfaces a.npz b.npz \\
        --output-stem figures/mine/fig5_cifar10 --options '{"loss_range": [0.4, 256]}'

Options: loss_range, auto or [low, high] in nats.
"""

from losspatterns.errors import run_script
from losspatterns.figures.command import draw_surfaces
from losspatterns.figures.pictures import pictures_on_train_and_test

if __name__ == "__main__":
    run_script(lambda: draw_surfaces("fig5_cifar10", __doc__, pictures_on_train_and_test))
