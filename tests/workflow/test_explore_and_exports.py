"""`snakemake explore`: the pages of a finished scale, and what an edit of them reruns."""

from pathlib import Path

from conftest import SMOKE, edit, jobs, listed_jobs, succeeds

TEMPLATES = "scripts/losspatterns/explore/templates"


def test_pages_are_made_beside_all_and_an_edit_of_them_reruns_nothing_else(finished: Path) -> None:
    # The snapshots of two pictures; those of the third have a film.
    assert listed_jobs(succeeds(finished, "explore", "--cores", "2", *SMOKE)) == {"evaluate_film": 2, "explore": 1}
    folder = finished / "figures/smoke/explore"
    runs = {file.relative_to(finished / "results/smoke/surfaces") for file in finished.glob("results/smoke/surfaces/**/*.nc")}
    assert {file.relative_to(folder).with_suffix(".nc") for file in folder.glob("*/**/*.html")} == runs
    index = (folder / "index.html").read_text(encoding="utf-8")
    assert all(f'href="{run.with_suffix(".html")}"' in index for run in runs)
    assert jobs(finished, "explore") == {} == jobs(finished)
    for file, old, new in (
        (f"{TEMPLATES}/explore.js", '"use strict";', '"use strict";\n'),
        ("scripts/losspatterns/explore/pages.py", "COLOURS = 65", "COLOURS = 33"),
    ):
        edit(file, old, new)(finished)
        assert jobs(finished, "explore") == {"explore": 1} and jobs(finished) == {}
        edit(file, new, old)(finished)
