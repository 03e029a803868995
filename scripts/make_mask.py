"""Draw one mask: the config entry of a picture in, its ternary mask (.npy) and a preview (.png) out.

By hand: python scripts/make_mask.py --spec '{"name": "heart", "kind": "glyph", "character": "♥", "size": [24, 24]}' \
    --output heart.npy --preview heart.png
"""

import argparse
import json

from losspatterns.config.reading import from_json
from losspatterns.data import masks
from losspatterns.data.mask_settings import ImageMask, PhotographMask, parse_mask
from losspatterns.errors import InputError, run_script
from losspatterns.records.artifacts import PROVENANCE_KEY, file_checksum, provenance, recorded_path, save_mask
from PIL.PngImagePlugin import PngInfo


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw one mask and its preview.")
    parser.add_argument("--spec", required=True, help="name and config entry of the mask, as JSON")
    parser.add_argument("--output", required=True, help="the ternary mask to write, .npy")
    parser.add_argument("--preview", required=True, help="the preview to write, .png")
    arguments = parser.parse_args()
    entry = from_json("--spec", arguments.spec)
    if not isinstance(entry, dict) or "name" not in entry:
        raise InputError(f"--spec: found {arguments.spec!r}, expected the entry of a mask with its name")
    name, settings = entry["name"], parse_mask(f"masks.{entry['name']}", entry)
    shaded = isinstance(settings, PhotographMask) and settings.shaded
    mask, picture = masks.make_targets(name, settings) if shaded else masks.make_mask(name, settings)
    facts = {"mask": name, "spec": settings.model_dump(mode="json")}
    if isinstance(settings, ImageMask | PhotographMask):
        facts["image"] = file_checksum(settings.file)
    made_by, metadata = provenance(**facts), PngInfo()
    metadata.add_text(PROVENANCE_KEY, json.dumps(made_by, sort_keys=True))
    with recorded_path(arguments.preview, made_by) as temporary:
        masks.preview(name, mask, picture).save(temporary, "PNG", pnginfo=metadata, optimize=True)
    save_mask(arguments.output, mask, made_by)
    if shaded:
        print(f"{name}: {mask.shape[0]} x {mask.shape[1]} pixels of {mask.shape[2]} channels, all to train")
        return
    white, black, ignored = ((mask == value).sum() for value in (1, -1, 0))
    print(
        f"{name}: {' x '.join(map(str, mask.shape))} pixels, {white} white, {black} black, {ignored} ignored;"
        f" {white + black} to train"
    )


if __name__ == "__main__":
    run_script(main)
