"""An SVG file drawn as an image, the same on every machine: by resvg, in matplotlib's DejaVu fonts, with no other file.

The one idea: resvg draws, and says what it cannot read. Only what it passes over in silence is looked for here.
"""

import json
import re
import subprocess
import sys
from xml.etree import ElementTree

from ..config.fields import font_file

UNDRAWN = re.compile("foreignObject|flow[A-Z].*|mesh.*|hatch.*")  # a web page's, Inkscape's, SVG 2's; `switch` offers others
IN_VAIN = re.compile("script|set|animate.*|discard")
INSIDE = re.compile(r"data:(image/(jpe?g|png|gif|webp|svg\+xml)|text/plain|)[;,]")  # decoded in an image

SECONDS, BYTES = 20, 4 << 30  # that drawing may take
DRAW = """
import json, resource, resvg_py, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
sys.stderr.buffer.write(resvg_py.svg_to_bytes(**json.load(sys.stdin)))
"""  # warnings go to standard output


def render_svg(content: bytes, side: int) -> tuple[bytes, list[str]]:
    """(the SVG as PNG, as large as fits a square of `side` pixels; warnings). ValueError if it is no SVG, or says to draw what
    is not in it or cannot be drawn."""
    try:
        root = ElementTree.fromstring(content)
        for key in ("width", "height"):
            if root.get(key, "").strip().endswith("%"):  # of a page that is not there: left to the viewBox, as in web pages
                del root.attrib[key]
        text = ElementTree.tostring(root, "unicode")  # whatever the file's encoding
    except (ElementTree.ParseError, LookupError, RecursionError) as error:  # an unknown encoding; nested without end
        raise ValueError(error) from None
    if b"<?xml-stylesheet" in content.replace(b"\0", b""):  # in UTF-16 too
        raise ValueError("its style sheet is another file: embed that")
    in_vain = _in_vain(root, text)
    remedy = "turn the text into paths, or name one of the families serif, sans-serif and monospace behind its own"
    for families in re.findall("No match for '(.*)' font-family", "\n".join(_resvg(text, side, serif="none")[1])):
        if "serif" not in families.split(", "):
            raise ValueError(f"text in the font {families}, which is not here; {remedy}")
    png, warnings = _resvg(text, side, serif="DejaVu Serif")
    for warning in warnings:
        if warning.startswith("No fonts with"):
            raise ValueError(f"{warning.rstrip('.')}; turn the text into paths")
    return png, list(dict.fromkeys(in_vain + warnings))


def _in_vain(root: ElementTree.Element, text: str) -> list[str]:
    """A line for each thing that would change the SVG later, and for each id that it names and has not. ValueError
    for what has to be drawn and cannot be."""
    lines, meant = [], set(re.findall(r"url\(\s*(?:['\"]|&quot;)?#([^'\"&)\s]+)", text))
    for parent in root.iter():
        for element in parent:
            name, group = (part.tag.removeprefix("{http://www.w3.org/2000/svg}") for part in (element, parent))
            if UNDRAWN.fullmatch(name) and (group != "switch" or len(parent) == 1):
                raise ValueError(f"its <{name}> cannot be drawn; turn it into paths, or take it out")
            if IN_VAIN.fullmatch(name):
                lines.append(f"its <{name}> does nothing here; what is drawn is what stands there without it")
            for key, value in element.attrib.items() if name in ("image", "feImage", "use") else ():
                if key.endswith("href") and value.strip().startswith("#"):
                    meant.add(value.strip()[1:])
                elif key.endswith("href") and not INSIDE.match(value.strip()):
                    raise ValueError(f"it draws in another file or format, {value.partition(',')[0]!r}: embed that as PNG")
    missing = meant - {element.get("id") for element in root.iter()}
    return lines + [f"it refers to #{name}, which is not there" for name in sorted(missing)]


def _resvg(text: str, side: int, serif: str) -> tuple[bytes, list[str]]:
    """What resvg draws of an SVG, and its warnings; in a process of its own, as a filter of a few bytes can take hours or all
    memory. ValueError then.

    serif: the font of the generic family, and of all text whose fonts are not there.
    """
    sans = font_file("DejaVuSans")
    asked = {
        "svg_string": text,
        "width": side,
        "height": side,
        "dpi": 96,  # of CSS: what mm, cm, in, pt and pc are
        "languages": ["en"],
        "skip_system_fonts": True,
        "font_files": [str(sans), *map(str, sorted(sans.parent.glob("DejaVu*.ttf")))],  # looked through in this order
        "serif_family": serif,
        "monospace_family": "DejaVu Sans Mono",
        **dict.fromkeys(("font_family", "sans_serif_family", "cursive_family", "fantasy_family"), "DejaVu Sans"),
        "log_information": True,
    }
    command = [sys.executable, "-c", DRAW, str(BYTES)]
    try:
        done = subprocess.run(command, input=json.dumps(asked).encode(), capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise ValueError(f"it takes more than {SECONDS} s to draw; simplify it, its filters first") from None
    if done.returncode:
        errors = re.findall(r"^\w*(?:Error|Exception): .*", done.stderr.decode("utf-8", "replace"), re.MULTILINE)
        said = errors[-1] if errors and "Memory" not in errors[-1] else f"more than {BYTES >> 20} MiB of memory?"
        raise ValueError(f"it cannot be drawn: {said}")
    return done.stderr, re.findall(r"^Warning \(in .*?\): (.*)$", done.stdout.decode("utf-8", "replace"), re.MULTILINE)
