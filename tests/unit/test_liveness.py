"""Lock files of a dead Snakemake go, those of a living one stay."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from losspatterns.records.liveness import clear_stale_locks

HOLDER = "import pathlib, sys, time; from losspatterns.records.liveness import clear_stale_locks;"
HOLDER += "alive = clear_stale_locks(pathlib.Path(sys.argv[1])); print('alive', flush=True); time.sleep(600)"


def test_locks_stay_while_their_owner_lives_and_go_when_it_is_killed(tmp_path: Path, root: Path) -> None:
    folder = tmp_path / ".snakemake"
    command = [sys.executable, "-c", HOLDER, str(folder)]
    owner = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(root / "scripts")})
    assert owner.stdout.readline() == "alive\n"
    (folder / "locks").mkdir()
    lock = folder / "locks/0.output.lock"
    lock.touch()
    clear_stale_locks(folder).close()
    assert lock.exists()
    second = clear_stale_locks(folder)  # one more that lives, and outlives the first
    owner.kill()
    owner.wait()
    clear_stale_locks(folder).close()
    assert lock.exists()
    second.close()
    clear_stale_locks(folder).close()
    assert not lock.exists()
