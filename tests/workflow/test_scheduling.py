"""When Snakemake looks for jobs to start: if it did so all the time, that would take most of a core of a long run."""

from pathlib import Path

from conftest import SMOKE, succeeds

MASKS = [f"results/smoke/masks/{name}.npy" for name in ("corner", "heart", "knight", "anchor")]


def looks(output: str) -> int:
    """How often it looked."""
    return output.count("Ready jobs: ")


def test_it_looks_at_the_start_and_when_a_job_ends(project: Path) -> None:
    output = succeeds(project, "--cores", "1", "--verbose", *SMOKE, "--", *MASKS)
    assert looks(output) == len(MASKS)


def test_a_limit_of_one_s_own_is_kept(project: Path) -> None:
    output = succeeds(project, "--cores", "4", "--verbose", "--max-jobs-per-timespan", "1/2s", *SMOKE, "--", *MASKS)
    # Four cores are free for the four jobs, but each look may start one.
    assert all(f"Ready jobs: {left}" in output for left in (4, 3, 2, 1))
