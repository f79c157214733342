"""`analyze annotate export labelled.jsonl --format coco -o boxes.json`: an output in a format of others (`formats`).

    output ──> names of all objects (first pass) ──> files, image by image (second pass) ──> excluded.csv
What is no good annotation is in no export, and listed with its reason: an image without objects is one, and is there.
Memory holds the names, however many images there are.
"""

from __future__ import annotations

import csv
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from analyze import settings
from analyze.annotate import formats
from analyze.annotate.labelled import Excluded, Labelled, read
from analyze.errors import EXIT_OK, InputError, UsageError
from analyze.files import output_errors, whole_file, write_whole
from analyze.lang import Lang, language
from analyze.records import to_json
from analyze.runs.command import Parser, add_settings, flags_of
from analyze.runs.filejob import Paths
from analyze.runs.index import Index

SETTINGS = (settings.ANALYZE_LANG,)
EXCLUDED = "excluded.csv"
TEXTS: dict[Lang, dict[str, str]] = {
    "en": {
        "written": "{path}: {images:,} images with {boxes:,} boxes of {names:,} names",
        "excluded": "left out, with reasons: {path} ({count:,})",
    },
    "zh": {
        "written": "{path}: {images:,} 张图片，{boxes:,} 个边界框，{names:,} 种名称",
        "excluded": "未导出（附原因）: {path}（{count:,}）",
    },
}


class Content:
    """The good annotations of an output, as often as they are wanted, and what is left out."""

    def __init__(self, output: Path) -> None:
        """Read an output once. Raises InputError for what is none, or holds nothing to export."""
        self._output = output
        self.excluded: list[Excluded] = []
        self.images = self.boxes = 0
        seen: dict[str, None] = {}
        for one in self._all():
            if isinstance(one, Excluded):
                self.excluded.append(one)
                continue
            self.images += 1
            self.boxes += len(one.objects)
            seen.update((boxed.name, None) for boxed in one.objects)
        self.names = sorted(seen)
        if not self.images:
            raise InputError("holds no good annotation", path=str(output), cure="look at the failures of its run")

    @property
    def ids(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.names)}

    def __iter__(self) -> Iterator[Labelled]:
        return (one for one in self._all() if isinstance(one, Labelled))

    def _all(self) -> Iterator[Labelled | Excluded]:
        """Yield what was recorded; of an image that the input has twice, the first."""
        paths = Index()
        for one in read(self._output):
            if isinstance(one, Labelled) and not paths.add(one.path):
                yield Excluded(one.path, "duplicate", "the image is there already")
            else:
                yield one


def export(output: Path, format: str, target: Path) -> Content:
    """Write the annotations of an output to `target`, a file or a folder, whole or not at all. Raises InputError."""
    content = Content(output)
    if format in _FOLDERS:
        with _whole_folder(target) as folder:
            _WRITERS[format](content, folder)
    else:
        _WRITERS[format](content, target)
    return content


@contextmanager
def _whole_folder(target: Path) -> Iterator[Path]:
    """Yield a folder that takes its place when the block ends well, and vanishes when it does not."""
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    with output_errors(target):
        part.mkdir(parents=True)
        try:
            yield part
            part.rename(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _coco(content: Content, target: Path) -> None:
    """Write one object by and by: a million images would not fit in memory at once."""
    ids = content.ids
    with whole_file(target, "wb") as file:
        file.write(b'{"info": {"description": "analyze annotate"}, "licenses": [],\n"categories": ')
        file.write(to_json(formats.coco_categories(content.names)))
        file.write(b',\n"images": [')
        _listed(file, (formats.coco_image(number, image) for number, image in enumerate(content, 1)))
        file.write(b'],\n"annotations": [')
        _listed(file, _all_boxes(content, ids))
        file.write(b"]}\n")


def _all_boxes(content: Content, ids: dict[str, int]) -> Iterator[dict[str, Any]]:
    first = 1
    for number, image in enumerate(content, 1):
        yield from formats.coco_annotations(first, number, image, ids)
        first += len(image.objects)


def _listed(file: Any, values: Iterator[dict[str, Any]]) -> None:
    for number, value in enumerate(values):
        file.write(b",\n" if number else b"\n")
        file.write(to_json(value))


def _yolo(content: Content, target: Path) -> None:
    ids = content.ids
    for image in content:
        path = target / "labels" / _beside(image.path, ".txt")
        _write_new(path, formats.yolo_lines(image, ids).encode(), image.path)
    (target / "data.yaml").write_bytes(formats.yolo_data(content.names).encode("utf-8", "replace"))


def _voc(content: Content, target: Path) -> None:
    for image in content:
        _write_new(target / "Annotations" / _beside(image.path, ".xml"), formats.voc_xml(image), image.path)


def _label_studio(content: Content, target: Path) -> None:
    with whole_file(target, "wb") as file:
        file.write(b"[")
        _listed(file, (formats.label_studio_task(image, image.record.get("model")) for image in content))
        file.write(b"]\n")
    write_whole(target.with_suffix(".xml"), formats.label_studio_view(content.names))


def _csv(content: Content, target: Path) -> None:
    with whole_file(target, encoding="utf-8-sig", newline="", errors="replace") as file:
        csv.writer(file).writerow(formats.CSV_HEAD)
        for image in content:
            file.write(formats.csv_lines([image]))


def _is_of_run(target: Path, output: Path) -> bool:
    """Whether a run with this output has recorded something in `target`."""
    return any(one.exists() and one.samefile(target) for one in Paths(output).all)


_WRITERS: dict[str, Callable[[Content, Path], None]] = {
    "coco": _coco,
    "yolo": _yolo,
    "label-studio": _label_studio,
    "voc": _voc,
    "csv": _csv,
}
_FOLDERS = frozenset({"yolo", "voc"})
_ENDINGS = {"coco": "coco.json", "label-studio": "labelstudio.json", "csv": "csv", "yolo": "yolo", "voc": "voc"}


def _beside(path: str, ending: str) -> Path:
    """Return where an image's own file goes: its path, below the target whatever it says."""
    parts = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
    return Path(*parts).with_suffix(ending) if parts else Path(f"image{ending}")


def _write_new(path: Path, data: bytes, image: str) -> None:
    """Write the file of one image. Raises InputError where another image would have the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(path, "xb") as file:
            file.write(data)
    except FileExistsError:
        raise InputError(
            f"{image} and another image would share {path.name}: this format tells images apart by their names "
            "without ending",
            cure="export to coco, which has whole names",
        ) from None


def write_excluded(path: Path, excluded: Sequence[Excluded]) -> None:
    with whole_file(path, encoding="utf-8-sig", newline="", errors="replace") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "status", "reason"))
        writer.writerows(
            (formats.inert_field(one.path), one.status, formats.inert_field(one.reason)) for one in excluded
        )


def command(argv: Sequence[str]) -> int:
    parser = Parser("analyze annotate export", description="Write annotations in a format of others.")
    parser.add_argument("output", metavar="ANNOTATIONS", help="the output of `analyze annotate`")
    parser.add_argument("--format", required=True, choices=(*_WRITERS,), help="yolo and voc are folders of files")
    parser.add_argument("-o", "--to", metavar="PATH", help="where to write; default: beside the annotations")
    add_settings(parser, SETTINGS, language())
    args = parser.parse_args(argv)
    chosen = flags_of(args, SETTINGS)
    if args.show_settings:
        print(chosen.show())
        return EXIT_OK
    output = Path(args.output)
    target = Path(args.to) if args.to else output.with_name(f"{output.name}.{_ENDINGS[args.format]}")
    if target.exists() and (args.format in _FOLDERS or target.is_dir() or _is_of_run(target, output)):
        raise UsageError(f"{target} is there already", cure="give another place with -o")
    content = export(output, args.format, target)
    texts = TEXTS[language(chosen[settings.ANALYZE_LANG])]
    counts = {"images": content.images, "boxes": content.boxes, "names": len(content.names)}
    print(texts["written"].format(path=target, **counts))
    if content.excluded:
        listed = target / EXCLUDED if args.format in _FOLDERS else target.with_name(f"{target.name}.{EXCLUDED}")
        write_excluded(listed, content.excluded)
        print(texts["excluded"].format(path=listed, count=len(content.excluded)))
    return EXIT_OK
