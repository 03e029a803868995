"""Multi-point optimization: planes in a network's weight space whose loss surface shows a picture.

The library knows files, arrays and networks; it has never heard of Snakemake.
"""

import atexit
import gc
import os
from importlib.util import find_spec

_backend = os.environ.get("MPLBACKEND", "").partition("module://")[2].partition(".")[0]
if _backend and not find_spec(_backend):  # a notebook's, not installed here: matplotlib would not even be imported
    os.environ["MPLBACKEND"] = "agg"

# As it ends, Python would look through all objects once more: with torch, for half a second.
atexit.register(gc.freeze)
