"""Write the page of one plane, to look at its surfaces in a browser, as one file that needs no other."""

import argparse

from losspatterns.errors import run_script
from losspatterns.explore.pages import page, read_plane
from losspatterns.records.artifacts import provenance, save_text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--surfaces", required=True, help="surfaces of the plane (.nc)")
    parser.add_argument("--film", help="its surfaces at its snapshots (.nc)")
    parser.add_argument("--output", required=True, help="output: the page (.html)")
    arguments = parser.parse_args()
    plane = read_plane(arguments.surfaces, film=arguments.film)
    save_text(arguments.output, page(plane), provenance(page=plane.shown.origin()))


if __name__ == "__main__":
    run_script(main)
