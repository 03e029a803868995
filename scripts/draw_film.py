"""Draw the film of one plane's training: its surface at every snapshot, as a GIF."""

import argparse

from losspatterns.errors import run_script
from losspatterns.figures.film import draw_frames, save_film
from losspatterns.figures.surfaces import surface_of
from losspatterns.records.artifacts import load_labelled, provenance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--surfaces", required=True, help="the surfaces of all stages (.nc)")
    parser.add_argument("--output", required=True, help="output: the film (.gif)")
    arguments = parser.parse_args()

    path = arguments.surfaces
    file, made_by = load_labelled(path)
    [split], [protocol] = file["split"].values, file["protocol"].values
    stages = [surface_of(path, file, made_by, stage, split, protocol) for stage in file["stage"].values]
    frames = draw_frames(stages, file["image_passes"].values.tolist())
    save_film(arguments.output, frames, provenance(film=stages[-1].origin()))


if __name__ == "__main__":
    run_script(main)
