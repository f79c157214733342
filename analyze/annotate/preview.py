"""`analyze annotate preview labelled.jsonl`: a sample of images with their boxes drawn, and a contact sheet of them.

The sample is spread over all images, and is the same each time. Names are drawn in a font that has their characters;
where there is none, boxes are numbered, and the names stand below the image.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from analyze import settings
from analyze._version import __version__
from analyze.annotate.images import Trouble, upright
from analyze.annotate.labelled import Labelled, read
from analyze.annotate.page_texts import TEXTS as PAGE_TEXTS
from analyze.console import printable
from analyze.errors import EXIT_OK, InputError, UsageError
from analyze.files import output_errors, whole_file
from analyze.lang import Lang, language
from analyze.report.fonts import covers, find_font
from analyze.report.frame import environment
from analyze.report.jobpage import page_css
from analyze.report.safe import visible
from analyze.runs.command import Parser, add_settings, flags_of, positive
from analyze.runs.filejob import Paths
from analyze.runs.manifest import read_manifest

SETTINGS = (settings.FONT_PATH, settings.ANALYZE_LANG)
IMAGES = 60
MAX_PIXELS = 1_000_000
QUALITY = 85
SHOWN = 24  # characters of a name that are drawn
INKS = ("#0b67a8", "#b54d07", "#1b7a3d", "#8a2f8a", "#a8860b", "#b3213f", "#1a7f7f", "#4b4bb0")
"""White letters can be read on each of them."""

TEXTS: dict[Lang, dict[str, str]] = {
    "en": {
        "written": "{path}: {shown:,} of {all:,} annotated images",
        "gone": "images that cannot be shown: {count:,}",
    },
    "zh": {"written": "{path}: {all:,} 张已标注图片中的 {shown:,} 张", "gone": "无法显示的图片: {count:,}"},
}


def sample(images: Iterable[Labelled], count: int) -> tuple[list[Labelled], int]:
    """Return so many images, by the hash of their path, in the order of their paths; and how many there are."""
    total = 0

    def hashed() -> Iterable[tuple[str, int, Labelled]]:
        nonlocal total
        for image in images:
            total += 1
            yield sha256(image.path.encode("utf-8", "surrogatepass")).hexdigest(), total, image

    chosen = [image for _, _, image in heapq.nsmallest(count, hashed(), key=lambda one: one[:2])]
    return sorted(chosen, key=lambda image: image.path), total


def draw(picture: Any, image: Labelled, font: str | None, inks: Mapping[str, str]) -> Any:
    """Draw the boxes of an image on it, each with its number, and with its name where `font` has the characters.

    `inks`: the colour of each name."""
    from PIL import ImageDraw, ImageFont

    across, down = picture.width / image.size[0], picture.height / image.size[1]
    line = max(2, round(max(picture.size) / 400))
    points = max(12, round(max(picture.size) / 55))
    letters = ImageFont.truetype(font, points) if font else ImageFont.load_default(points)
    canvas = ImageDraw.Draw(picture)
    for number, one in enumerate(image.objects, 1):
        x1, y1, x2, y2 = one.box
        box = (x1 * across, y1 * down, x2 * across, y2 * down)
        canvas.rectangle(box, outline=inks[one.name], width=line)
        name = visible(one.name, SHOWN)
        text = f"{number} {name}" if font and covers(name, font) else f"{number}"
        _, _, right, bottom = canvas.textbbox((0, 0), text, font=letters)
        x = min(max(0, box[0]), max(0, picture.width - right - 8))
        y = box[1] - bottom - 6 if box[1] >= bottom + 6 else box[1]
        canvas.rectangle((x, y, x + right + 8, y + bottom + 6), fill=inks[one.name])
        canvas.text((x + 4, y + 2), text, font=letters, fill="white")
    return picture


def font_for(names: Sequence[str], given: str | None) -> str | None:
    """Return a font for these names, the most frequent first; where none has them all, for the first half, and so on.

    One name with an emoji must not leave all the others undrawn. Raises UsageError where `given` is no font.
    """
    while names:
        font = find_font("".join(names) + "0123456789", given)
        if font is not None:
            return font
        names = names[: len(names) // 2]
    return None


def _names(image: Labelled) -> list[str]:
    return [one.name for one in image.objects]


def write(
    output: Path, root: str, target: Path, *, lang: Lang, count: int, font_path: str | None
) -> tuple[int, int, int]:
    """Write the overlays and `index.html` to the folder `target`. Return how many images are shown, how many there are,
    and how many cannot be shown. Raises InputError, UsageError."""
    chosen, total = sample((one for one in read(output) if isinstance(one, Labelled)), count)
    if not total:
        raise InputError("holds no good annotation", path=str(output), cure="look at the failures of its run")
    counted = Counter(name for image in chosen for name in _names(image))
    font = font_for([visible(name, SHOWN) for name, _ in counted.most_common()], font_path)
    in_order = sorted(counted)
    inks = {name: INKS[number % len(INKS)] for number, name in enumerate(in_order)}
    shown, gone = [], 0
    with output_errors(target):
        target.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(chosen, 1):
        picture = upright(image.path, root, MAX_PIXELS)
        told = _told(image)
        if isinstance(picture, Trouble):
            gone += 1
            shown.append({**told, "trouble": visible(picture.message, 200), "file": None})
            continue
        name = f"{number:04}.jpg"
        with whole_file(target / name, "wb") as file:
            draw(picture, image, font, inks).save(file, "JPEG", quality=QUALITY)
        shown.append({**told, "alt": PAGE_TEXTS[lang]["sheet_alt"].format(**told["counts"]), "file": name})
    with whole_file(target / "index.html", "wb") as file:
        has_font = font is not None and all(covers(visible(name, SHOWN), font) for name in in_order)
        file.write(contact_sheet(output, shown, total, lang, has_font=has_font).encode("utf-8", "replace"))
    return len(chosen), total, gone


def _told(image: Labelled) -> dict[str, Any]:
    path = visible(image.path, 200)
    listed = [visible(name, 80) for name in _names(image)]
    flags = ", ".join(visible(str(flag), 60) for flag in image.record.get("flags") or ())
    return {"path": path, "names": listed, "flags": flags, "counts": {"path": path, "n": len(image.objects)}}


def contact_sheet(output: Path, pictures: Sequence[Any], total: int, lang: Lang, *, has_font: bool) -> str:
    t = PAGE_TEXTS[lang]
    return (
        environment("analyze.annotate")
        .get_template("sheet.html.j2")
        .render(
            t=t,
            css=page_css("analyze.annotate"),
            version=__version__,
            output=visible(output.name),
            lead=t["sheet_lead"].format(shown=f"{len(pictures):,}", all=f"{total:,}"),
            pictures=pictures,
            has_font=has_font,
        )
    )


def command(argv: Sequence[str]) -> int:
    parser = Parser("analyze annotate preview", description="Draw boxes on a sample of images, with a contact sheet.")
    add = parser.add_argument
    add("output", metavar="ANNOTATIONS", help="the output of `analyze annotate`")
    add("--image-root", metavar="FOLDER", help="the folder of the images; default: that of the run")
    add("-n", "--images", type=positive, default=IMAGES, metavar="N", help=f"how many images at most ({IMAGES})")
    add("-o", "--to", metavar="FOLDER", help="where to write; default: beside the annotations")
    add_settings(parser, SETTINGS, language())
    args = parser.parse_args(argv)
    chosen = flags_of(args, SETTINGS)
    if args.show_settings:
        print(chosen.show())
        return EXIT_OK
    output = Path(args.output)
    root = args.image_root or (read_manifest(Paths(output).manifest) or {}).get("image_root")
    if root is None:
        raise UsageError(f"{output} has no run beside it that names its images", cure="--image-root FOLDER")
    target = Path(args.to) if args.to else Paths(output).beside("preview")
    lang = language(chosen[settings.ANALYZE_LANG])
    font = chosen[settings.FONT_PATH]
    shown, total, gone = write(output, str(root), target, lang=lang, count=args.images, font_path=font)
    texts = TEXTS[lang]
    print(printable(texts["written"].format(path=target / "index.html", shown=shown, all=total)))
    if gone:
        print(texts["gone"].format(count=gone))
    return EXIT_OK
