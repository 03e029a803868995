"""Draw one mask: the config entry of a picture in, its ternary mask (.npy) and a preview (.png) out.

By hand: python scripts/make_mask.py --name heart --spec '{"kind": "glyph", "character": "♥", "size": [24, 24]}' \
    --output heart.npy --preview heart.png
"""

from __future__ import annotations

import argparse
import json

from losspatterns.data import masks
from losspatterns.errors import InputError, run_script
from losspatterns.records.artifacts import PROVENANCE_KEY, file_checksum, provenance, recorded_path, save_mask
from losspatterns.specs import user_path
from PIL.PngImagePlugin import PngInfo


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw one mask and its preview.")
    parser.add_argument("--name", required=True, help="the mask's name: its key under `masks` in the config")
    parser.add_argument("--spec", required=True, help="the mask's config entry, as JSON")
    parser.add_argument("--output", required=True, help="the ternary mask to write, .npy")
    parser.add_argument("--preview", required=True, help="the preview to write, .png")
    arguments = parser.parse_args()
    for option, path, suffix in (("--output", arguments.output, ".npy"), ("--preview", arguments.preview, ".png")):
        if not path.endswith(suffix):
            raise InputError(f"{option}: found {path!r}, expected a name that ends in {suffix}")
    try:
        entry = json.loads(arguments.spec)
    except json.JSONDecodeError as error:
        raise InputError(f"--spec: not JSON ({error.msg} at character {error.pos})") from None

    spec = masks.MaskSpec.from_dict(arguments.name, entry)
    mask, picture = masks.make_mask(spec)
    facts = {"mask": arguments.name, "spec": spec.to_dict()}
    if spec.kind == "image":
        facts["image"] = file_checksum(user_path(spec.options["path"]))
    metadata = PngInfo()
    made_by = provenance(**facts)
    metadata.add_text(PROVENANCE_KEY, json.dumps(made_by, sort_keys=True))
    with recorded_path(arguments.preview, made_by) as temporary:
        masks.preview(arguments.name, mask, picture).save(temporary, pnginfo=metadata, optimize=True)
    save_mask(arguments.output, mask, made_by)
    white, black, ignored = ((mask == value).sum() for value in (1, -1, 0))
    print(
        f"{arguments.name}: {mask.shape[0]} x {mask.shape[1]} pixels, {white} white, {black} black, {ignored} ignored;"
        f" {white + black} to train"
    )


if __name__ == "__main__":
    run_script(main)
