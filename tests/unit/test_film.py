"""Films: frames of one layout, palette and scale; equal bytes for equal surfaces; surfaces in the order of the training."""

import json
import runpy
import sys

import draw_film
import numpy as np
import pytest
import yaml
from losspatterns.figures.film import draw_frames, save_film
from losspatterns.method.settings import Recipe
from losspatterns.records.artifacts import load_labelled
from losspatterns.records.closure import SCRIPTS
from PIL import Image
from test_figures import F, surface, write_surfaces


def jobs() -> dict[str, list[str]]:
    """A small run from the data set to the scores: each script with its arguments."""
    dataset = {"kind": "CIFAR10", "sources": [{"shapes": {"train": 40, "test": 10}}]}
    mask = {"name": "m", "kind": "text", "text": "a", "size": [5, 5]}
    recipe = Recipe(**yaml.safe_load((SCRIPTS.parent / "config/recipes.yaml").read_text(encoding="utf-8"))["recipes"]["fast"])
    recipe = recipe.model_copy(update={"updates": 2, "origin_updates": 1, "origin_images": 4})
    common = {"network": {"name": "n", "kind": "conv", "channels": [2], "dense": [], "batch_norm": True}, "seed": 0}
    surface = {"padding": 0, "oversampling": 1, "splits": ["test"], "images": 4, "calibration_images": 4, "image_seed": 0}
    specs = {
        "fetch_dataset.py": dataset,
        "make_mask.py": mask,
        "warm_origin.py": common | {"warm_up": recipe.of_origin.model_dump(mode="json")},
        "train_plane.py": common | {"training": {"recipe": "fast", **recipe.model_dump(mode="json")}},
        "evaluate_surface.py": surface | {"protocols": ["batch", "recalibrated", "identity"], "snapshots": 1},
    }
    files = {
        "fetch_dataset.py": "--name d --output d.npz",
        "make_mask.py": "--output m.npy --preview m.png",
        "warm_origin.py": "--dataset d.npz --dataset-name d --output o.safetensors",
        "train_plane.py": "--dataset d.npz --mask m.npy --origin o.safetensors --dataset-name d"
        " --plane p.safetensors --history h.csv --state p.state",
        "evaluate_surface.py": "--plane p.safetensors --origin o.safetensors --dataset d.npz --mask m.npy"
        " --output s.nc --state s.state",
        "score_surfaces.py": "--surfaces s.nc --histories h.csv --studies [] --scores scores.csv --study study.csv",
    }
    arguments = {script: text.split() for script, text in files.items()}
    arguments["train_plane.py"] += ["--mask-spec", json.dumps(mask)]
    return {
        script: text + (["--spec", json.dumps(specs[script])] if script in specs else []) for script, text in arguments.items()
    }


def frames_of(path):
    """RGB of every frame of a film, and how long each stands, in milliseconds."""
    with Image.open(path) as film:
        frames, stand = [], []
        for number in range(film.n_frames):
            film.seek(number)
            frames.append(np.asarray(film.convert("RGB")).astype(int))
            stand.append(film.info["duration"])
    return np.stack(frames), stand


def stages():
    """Three surfaces of one plane; the last shows the picture."""
    return [surface(~F, padding=0, seed=1), surface(np.flipud(F), padding=0, seed=2), surface(F, padding=0)]


def test_each_point_of_the_last_frame_is_blue_where_the_picture_is_white(tmp_path):
    save_film(tmp_path / "f.gif", draw_frames(stages(), [0, 10, 20]), {})
    frames, stand = frames_of(tmp_path / "f.gif")
    blue, red = (frames[-1][..., a] > frames[-1][..., b] + 40 for a, b in ((2, 0), (0, 2)))
    left = np.flatnonzero((blue | red).sum(0) > 20)
    top = np.flatnonzero((blue | red)[:, left[:200]].sum(1) > 20)
    zoom = 256 // max(F.shape)
    assert len(frames) == 3 and stand[1] < stand[0] < stand[-1]
    rows, columns = (start[0] + zoom // 2 + zoom * np.arange(side) for start, side in ((top, F.shape[0]), (left, F.shape[1])))
    np.testing.assert_array_equal(blue[np.ix_(rows, columns)], F)
    # Points are whole squares of screen pixels: neighbours in a square have one colour.
    np.testing.assert_array_equal(frames[-1][np.ix_(rows, columns)], frames[-1][np.ix_(rows + 3, columns - 3)])


def test_equal_surfaces_give_equal_bytes_and_another_surface_others(tmp_path):
    for name in "ab":
        save_film(tmp_path / f"{name}.gif", draw_frames(stages(), [0, 10, 20]), {"made": "by"})
    save_film(tmp_path / "c.gif", draw_frames(stages()[::2], [0, 20]), {"made": "by"})
    a, b, c = ((tmp_path / f"{name}.gif").read_bytes() for name in "abc")
    assert a == b != c
    assert json.loads(Image.open(tmp_path / "a.gif").info["comment"])["made"] == "by"


@pytest.mark.parametrize("shape", [(3, 60), (60, 3), (3, 3)])
def test_a_film_of_any_shape_holds_its_texts(shape):
    picture = np.random.default_rng(0).random(shape) < 0.5
    [frame] = draw_frames([surface(picture, padding=0)], [123_456_789])
    edge = np.asarray(frame.convert("L")).astype(int)
    edge = np.concatenate([edge[0], edge[-1], edge[:, 0], edge[:, -1]])
    assert edge.min() == 255


def test_the_command_draws_a_frame_for_each_stage(tmp_path, monkeypatch):
    surfaces = write_surfaces(tmp_path / "s.nc", surface(padding=0), image_passes=(("stage",), [0, 1000]))
    monkeypatch.setattr("sys.argv", ["draw_film.py", "--surfaces", surfaces, "--output", str(tmp_path / "f.gif")])
    draw_film.main()
    assert len(frames_of(tmp_path / "f.gif")[0]) == 2
    assert json.loads((tmp_path / "f.gif.json").read_text())["record"]["inputs"]


def test_snapshots_that_a_plane_lacks_come_from_its_training_repeated(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    *before, train, evaluate, _ = jobs().items()

    def run(script, arguments):
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        runpy.run_path(f"{SCRIPTS}/{script}", run_name="imported")["main"]()
        return capsys.readouterr().err

    def surfaces():
        told = run(*evaluate)
        file, _ = load_labelled("s.nc")
        assert file["stage"].values.tolist() == ["untrained", "update 1", "trained"]
        return {name: file[name].values.tolist() for name in ("loss", "accuracy")}, told

    for script, arguments in before:
        run(script, arguments)
    run(train[0], [*train[1], "--snapshots", "1"])
    kept, _ = surfaces()
    run(*train)
    repeated, told = surfaces()
    assert repeated == kept and "ended otherwise" not in told
    monkeypatch.setenv("LOSSPATTERNS_KERNELS", "off")  # as another processor: other roundings
    run(*train)
    monkeypatch.delenv("LOSSPATTERNS_KERNELS")
    assert "ended otherwise" in surfaces()[1]
    assert [file.name for file in tmp_path.glob("*.training*")] == ["s.state.training"]  # until Snakemake has accepted the film
