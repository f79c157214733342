"""Annotations read from the output of a run, or from a COCO file: what exports, previews and evaluations are made of.

    output.jsonl ──> Labelled: a picture, its size, its boxes in pixels        (records that are ok)
                └──> Excluded: why it is in no export                          (all others, those of failures too)
Lines that an older script wrote do not say how large their images are: the files below the run's image root do.
Memory holds one record at a time. Knows no format that is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyze.annotate.coordinates import from_thousandths, place
from analyze.annotate.images import Trouble, size_of
from analyze.annotate.recorded import name_in_older_line
from analyze.annotate.shapes import Box, shapes_in
from analyze.errors import InputError
from analyze.files import input_errors
from analyze.records import from_json
from analyze.runs.filejob import Paths
from analyze.runs.manifest import read_manifest

FIRST = "image_path"


@dataclass(frozen=True, slots=True)
class Boxed:
    """One object: its name, its box in pixels of the upright image (left, top, right, bottom)."""

    name: str
    box: Box


@dataclass(frozen=True, slots=True)
class Labelled:
    """One image: its path below the root, width and height of the upright image, what is on it. `model` named that."""

    path: str
    size: tuple[int, int]
    objects: tuple[Boxed, ...]
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Excluded:
    """A record that no export has, and why."""

    path: str
    status: str
    reason: str


def read(output: Path) -> Iterator[Labelled | Excluded]:
    """Yield what a run has recorded, of its output and of its failures. Raises InputError."""
    root = (read_manifest(Paths(output).manifest) or {}).get("image_root")
    yield from _of_file(Paths(output).answers, root)
    failures = Paths(output).failures
    if failures.exists():
        yield from _of_file(failures, root)


def _of_file(path: Path, root: str | None) -> Iterator[Labelled | Excluded]:
    with input_errors(str(path)), open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n") or not line.strip():
                continue  # torn: it is being written
            try:
                yield labelled(from_json(line), root)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise InputError(
                    f"is no record of an annotation ({error})", path=str(path), line=number, cure="give an output"
                ) from error


def labelled(record: Mapping[str, Any], root: str | None = None) -> Labelled | Excluded:
    """Return what a record says. `root`: the folder of its image, for a line of an older script. Raises KeyError,
    TypeError, ValueError for a record of something else."""
    path = str(record.get("id") or record[FIRST]) if record.get("image") else str(record[FIRST] or record.get("id"))
    if record.get("annotations_error") or record.get("status", "ok") != "ok":
        return Excluded(path, str(record.get("status", "invalid")), str(record.get("error") or ""))
    image = record.get("image")
    if not image:
        return _of_older_line(path, record, root)
    size = (int(image["width"]), int(image["height"]))
    objects = record.get("objects_px")
    if objects is None:
        boxes = [(one["name"], from_thousandths(one["bbox"], size)) for one in record["objects"]]
    else:
        boxes = [(one["name"], _box(one["bbox"])) for one in objects]
    return Labelled(_plain(path, record), size, tuple(Boxed(str(name), box) for name, box in boxes), record)


def _of_older_line(path: str, record: Mapping[str, Any], root: str | None) -> Labelled | Excluded:
    unknown = "the line does not say how large its image is"
    if root is None:
        return Excluded(path, "older", unknown)
    name = name_in_older_line(path, root)
    size = size_of(name, root)
    if isinstance(size, Trouble):
        return Excluded(path, "older", f"{unknown}, and {size.message}")
    found = [{"name": said or "", "bbox": box} for said, box in shapes_in(record["objects"]).found]
    placed = place(found, "norm1000", size=size, sent=size)
    return Labelled(name, size, tuple(Boxed(one["name"], _box(one["bbox"])) for one in placed.objects_px), record)


def _plain(path: str, record: Mapping[str, Any]) -> str:
    """Return the path of a row's image: rows that came twice are numbered in their id."""
    given = str(record[FIRST])
    head, mark, number = path.rpartition("#")
    return head if mark and number.isdecimal() and not given.endswith(path) else path


def _box(numbers: Any) -> Box:
    x1, y1, x2, y2 = map(float, numbers)
    return x1, y1, x2, y2
