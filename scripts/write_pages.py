"""Write a page for each plane, to look at its surfaces in a browser, and an index: surfaces, scores.csv -> a folder of HTML.

    python scripts/write_pages.py --scale default --surfaces a.nc b.nc --scores scores.csv --output figures/mine/explore

Open index.html of the folder. Nothing is loaded from elsewhere. Its record has the checksums of all pages.
"""

import argparse
from pathlib import Path

from losspatterns.errors import run_script
from losspatterns.explore.pages import index, names_of, page, read_plane, shared
from losspatterns.records.artifacts import atomic_path, checksum, load_table, provenance, read_record, save_text
from losspatterns.runs.paths import RUN, at


def _place(path: str) -> str:
    """Where the plane of a surface file stands among all planes."""
    return at(RUN, **names_of(read_record(path)["made_by"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", required=True, help="name of the scale, for the index")
    parser.add_argument("--surfaces", nargs="+", required=True, help="surfaces (.nc), in the order of the index")
    parser.add_argument("--films", nargs="*", default=[], help="surfaces of the same planes at their snapshots (.nc), of any")
    parser.add_argument("--scores", required=True, help="their scores (.csv)")
    parser.add_argument("--output", required=True, help="output: folder of the pages")
    arguments = parser.parse_args()

    scores, cards, written = load_table(arguments.scores), [], {}
    films = {_place(path): path for path in arguments.films}

    def write(name: str, text: str) -> None:
        with atomic_path(Path(arguments.output) / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
        written[name] = checksum(text.encode())

    for name, text in shared().items():
        write(name, text)
    for path in arguments.surfaces:
        place = _place(path)
        plane, name = read_plane(path, scores, films.get(place)), f"{place}.html"
        write(name, page(plane, name))
        cards.append(plane.card(name))
    save_text(Path(arguments.output) / "index.html", index(cards, arguments.scale), provenance(pages=written))


if __name__ == "__main__":
    run_script(main)
