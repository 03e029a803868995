"""What the benchmarks share. To import it lets a script in benchmarks/ find `losspatterns` in scripts/, with no install."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
