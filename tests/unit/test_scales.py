"""The shipped scales: what must hold of them, and that a layer over one changes what it names and nothing else."""

import json
from typing import Any

import pytest
import yaml
from configs import CONFIG, SCALES, edited, layered, runs_of
from losspatterns.data.masks import binary
from losspatterns.errors import InputError
from losspatterns.method.settings import Recipe
from losspatterns.runs.planning import Runs
from losspatterns.runs.specs import Run


def trained_for(runs: Runs, name: str) -> list[Run]:
    """The runs of an experiment or study."""
    return [run for run in runs.runs.values() if run.experiment in (f"experiments.{name}", f"studies.{name}")]


@pytest.mark.parametrize(
    ("scale", "asked"),
    [("default", ["knight"]), ("smoke", ["heart"]), ("hour", []), ("study", []), ("cluster", []), ("paper", ["knight"])],
)
def test_all_draws_one_film_at_most(scale: str, asked: list[str]) -> None:
    runs = runs_of(layered(scale))
    found = runs.products()
    assert (runs.settings.scale, runs.files.results) == (scale, f"results/{scale}")
    assert [file for file in found if file.endswith((".gif", ".mp4"))] == [f"figures/{scale}/{name}.gif" for name in asked]


def test_films_need_states_of_the_training() -> None:
    with pytest.raises(InputError, match=r"^experiments\.fashion_pictures\.snapshots: found 0, but a film shows"):
        runs_of(layered("hour")).film_files(".gif")
    with pytest.raises(InputError, match=r"^experiments\.fashion_pictures\.films\[0\]: 'nobody' is not in masks"):
        runs_of(layered("default", {"experiments": {"fashion_pictures": {"films": ["nobody"]}}}))


def test_pages_show_the_snapshots_of_every_picture_that_keeps_some() -> None:
    found = runs_of(layered("default", {"experiments": {"cifar10_pictures": {"snapshots": 0}}}))
    kept = [run for run in found.runs.values() if run.experiment == "experiments.fashion_pictures"]
    assert kept and found.explored_films() == [f"results/default/films/{run.path}.nc" for run in kept]


def test_a_film_s_settings_change_no_plane_and_no_surface() -> None:
    [run], [other] = (
        [run for run in runs_of(layered("default", change)).runs.values() if run.mask == "knight"]
        for change in ({}, {"experiments": {"fashion_pictures": {"films": [], "surface": {"film_images": 7}}}})
    )
    assert run.training_spec() == other.training_spec() and run.surface_spec() == other.surface_spec()
    assert run.film_spec() != other.film_spec()


@pytest.mark.parametrize(("evaluated", "snapshots"), [(False, 0), (True, 16)])
def test_an_experiment_s_snapshots_are_evaluated_if_its_surface_says_so(evaluated: bool, snapshots: int) -> None:
    change = {"experiments": {"fashion_pictures": {"surface": {"snapshots": evaluated}}}}
    [run] = [run for run in runs_of(layered("default", change)).runs.values() if run.mask == "knight"]
    assert json.loads(run.surface_spec())["snapshots"] == snapshots
    [study, *_] = trained_for(runs_of(layered("default")), "batch_norm_study")
    assert json.loads(study.surface_spec())["snapshots"] == 4


def test_the_paper_s_scale_is_the_paper_s() -> None:
    """Numbers: arXiv 1910.03867, sections 3 and 4."""
    runs = runs_of(layered("paper"))
    study, picture = trained_for(runs, "batch_norm_study"), trained_for(runs, "fashion_pictures")[0]
    assert len(study) == 9 * 5 * 3
    assert picture.training.passes(picture.training.updates) == 604_160_000
    assert (picture.training.tau, study[0].training.tau) == (2.5, 5.0)
    forms = [source.form for dataset in runs.settings.datasets.values() for source in dataset.sources]
    assert set(forms) == {"mirror", "download"}
    assert study[0].training.clamp == picture.training.clamp == "mean"


def test_the_hour_scale_s_pictures_have_the_paper_s_size_and_its_tau_at_the_end() -> None:
    hour, paper = (runs_of(layered(scale)) for scale in ("hour", "paper"))
    for name in ("fashion_pictures", "cifar10_pictures"):
        (theirs, *_), ours = trained_for(paper, name), trained_for(hour, name)
        assert {hour.masks[run.mask].size for run in ours} == {paper.masks[theirs.mask].size} == {(50, 50)}
        assert {run.network_settings for run in ours} == {theirs.network_settings}
        assert {(run.training.tau, run.training.clamp) for run in ours} == {(theirs.training.tau, "running")}


def test_the_default_scale_needs_neither_network_nor_files_of_the_user_s() -> None:
    for scale in ("default", "smoke"):
        datasets = runs_of(layered(scale)).settings.datasets.values()
        forms = [source.form for dataset in datasets if not dataset.optional for source in dataset.sources]
        assert set(forms) == {"bundled", "shapes"}


def test_recipes_are_written_once_and_in_full() -> None:
    files = {file.stem: yaml.safe_load(file.read_text(encoding="utf-8")) for file in CONFIG.glob("*.yaml")}
    assert [name for name, entries in files.items() if "recipes" in entries] == ["recipes"]
    recipes = files["recipes"]["recipes"]
    assert list(recipes) == ["paper", "faithful", "fast", "annealed", "settled"]
    for name, recipe in recipes.items():
        assert set(recipe) == set(Recipe.model_fields), name
        assert all(layered(scale)["recipes"][name] == recipe for scale in SCALES)


MINE = """\
masks:
  smile: {kind: glyph, character: "☺", size: [24, 24]}
figures:
  mine: {kind: landscapes, panels: [{experiment: fashion_pictures, mask: smile}]}
"""


def test_a_config_of_five_lines_adds_a_picture_and_changes_nothing_else() -> None:
    assert len(MINE.splitlines()) <= 5
    before, after = runs_of(layered("default")), runs_of(layered("default", yaml.safe_load(MINE)))
    (added,) = set(after.runs) - set(before.runs)
    assert added == "fashion_mnist/smile/conv/seed0"
    assert {path: run for path, run in after.runs.items() if path != added} == before.runs
    assert set(after.figures) - set(before.figures) == {"mine"} and set(before.products()) < set(after.products())
    assert all(after.figure_spec(name) == before.figure_spec(name) for name in before.figures)
    assert all(after.mask_spec(name) == before.mask_spec(name) for name in before.masks)
    assert after.study_spec() == before.study_spec()
    assert set(after.products()) - set(before.products()) == {
        "figures/default/mine.pdf",
        "figures/default/mine.png",
        "results/default/masks/smile.png",
        "results/default/planes/fashion_mnist/smile/conv/seed0.safetensors",
        "results/default/surfaces/fashion_mnist/smile/conv/seed0.nc",
    }


@pytest.mark.parametrize("name", layered("default")["figures"])
def test_null_leaves_a_figure_out(name: str) -> None:
    before, after = runs_of(layered("default")), runs_of(layered("default", {"figures": {name: None}}))
    assert set(before.figures) - set(after.figures) == {name}
    assert all(after.figure_spec(other) == before.figure_spec(other) for other in after.figures)
    assert all(before.runs[path] == run for path, run in after.runs.items())
    missing = {run.mask for run in before.runs.values()} - {run.mask for run in after.runs.values()}
    assert missing == ({"airplane"} if name == "fig4_fashion_mnist" else set())


def test_null_leaves_a_study_out() -> None:
    drawn_from_it = dict.fromkeys(("fig3_batchnorm", "fig6_fill_probability", "fig7_budget"))
    before = runs_of(layered("default"))
    after = runs_of(layered("default", {"studies": {"batch_norm_study": None}, "figures": drawn_from_it}))
    assert after.studies == {} and len(after.runs) == 5
    assert after.runs == {path: run for path, run in before.runs.items() if run.experiment != "studies.batch_norm_study"}
    assert before.files.study in before.products() and before.files.study not in after.products()


@pytest.mark.parametrize(
    ("section", "name", "change"),
    [
        ("experiments", "fashion_pictures", {"training": {"updates": 1201}}),
        ("experiments", "cifar10_pictures", {"surface": {"padding": 4}}),
        ("experiments", "fashion_pictures", {"seeds": [0, 1]}),
        ("studies", "batch_norm_study", {"training": {"tau": 9.0}}),
        ("studies", "batch_norm_study", {"probabilities": [0.1, 0.3, 0.5, 0.6, 0.7, 0.9]}),
    ],
)
def test_a_change_of_one_experiment_changes_its_own_runs_alone(section: str, name: str, change: dict[str, Any]) -> None:
    def others(runs: Runs) -> dict[str, Run]:
        return {path: run for path, run in runs.runs.items() if run.experiment != f"{section}.{name}"}

    before, after = runs_of(layered("default")), runs_of(layered("default", {section: {name: change}}))
    assert others(after) == others(before) and trained_for(after, name) != trained_for(before, name)


def test_no_two_squares_of_a_study_share_pictures_or_random_numbers() -> None:
    runs = runs_of(layered("study"))
    study = runs.studies["batch_norm_study"]
    seeds = {(run.mask, run.seed) for run in study.runs}
    pictures = {binary(mask, runs.masks[mask]).tobytes() for mask, _ in seeds}
    assert len(seeds) == len({seed for _, seed in seeds}) == len(pictures) == 25
    assert all(sum(run.mask == mask for run in study.runs) == 3 for mask, _ in seeds)  # the same ones for each network


def test_each_probability_of_a_study_may_have_its_own_number_of_squares() -> None:
    """Those that both numbers have are the same runs."""
    equal, own = (runs_of(edited("studies/batch_norm_study/squares", number)) for number in (2, [1, 3]))
    found = [(run.mask, run.seed) for run in own.studies["batch_norm_study"].runs if run.network == "study_plain"]
    assert found == [
        (f"batch_norm_study_p{mask}", seed) for mask, seed in (("30_0", 30000), *((f"60_{n}", 60000 + n) for n in range(3)))
    ]
    assert set(equal.runs) - set(own.runs) == {path for path in equal.runs if "_p30_1/" in path}


def test_the_longest_trainings_begin_first() -> None:
    """After origins and masks, which trainings wait for (priority 2 and 3), and before surfaces (0)."""
    runs = runs_of(layered("hour"))
    of = {name: {run.priority for run in trained_for(runs, name)} for name in ("fashion_pictures", "batch_norm_study")}
    assert 1 < max(of["batch_norm_study"]) < min(of["fashion_pictures"]) < 2


def test_studies_are_trained_under_the_paper_s_objective() -> None:
    for scale in ("default", "hour", "study", "cluster"):
        trained = trained_for(runs_of(layered(scale)), "batch_norm_study")
        assert {(run.training.clamp, run.training.tau) for run in trained} == {("running", 5.0)}
