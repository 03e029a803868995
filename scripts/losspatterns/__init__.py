"""Multi-point optimization: planes in a network's weight space whose loss surface shows a picture.

The library knows files, arrays and networks; it has never heard of Snakemake. Modules import only from floors below:
artifacts, specs / datasets, masks, networks, plane / mpo, surfaces, scores / training / figures.
"""

import os

os.environ["MPLBACKEND"] = "agg"  # no figure needs a window, and the backend of a notebook may not be installed here
