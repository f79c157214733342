"""Annotations in the formats of others, and back: COCO, YOLO, Label Studio, VOC, CSV. Pure but for reading files.

    coco          bbox [x, y, width, height], float pixels; category ids from 1; images without boxes are listed
    yolo          `class cx cy width height`, shares of the image's sides; class ids from 0; an empty file: no objects
    label-studio  x, y, width, height in percent of the upright image (0-100), as predictions
    voc           pixels counted from 1, both corners inside the box: a box from 0 to 10 is 1 to 10
    csv           one line a box, float pixels
Ids are given in the order of names, so that the same annotations give the same files.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from typing import Any
from xml.etree import ElementTree

from analyze.annotate.labelled import Boxed, Labelled
from analyze.annotate.shapes import Box
from analyze.errors import InputError

Names = Sequence[str]
_DECIMALS = 6
_NO_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""What may stand in a string of JSON and not in one of YAML, or would be folded there."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
CSV_HEAD = ("image", "width", "height", "name", "x1", "y1", "x2", "y2", "model")


# -- COCO --------------------------------------------------------------------------------------------------------------


def coco_categories(names: Names) -> list[dict[str, Any]]:
    return [{"id": number, "name": name, "supercategory": ""} for number, name in enumerate(names, 1)]


def coco_image(number: int, image: Labelled) -> dict[str, Any]:
    return {"id": number, "file_name": image.path, "width": image.size[0], "height": image.size[1]}


def coco_annotations(first: int, number: int, image: Labelled, ids: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return the boxes of the image with id `number`; their own ids count from `first`, categories from 1."""
    told = []
    for at, one in enumerate(image.objects):
        x, y, width, height = _sized(one.box)
        told.append(
            {
                "id": first + at,
                "image_id": number,
                "category_id": ids[one.name] + 1,
                "bbox": [x, y, width, height],
                "area": _round(width * height),
                "iscrowd": 0,
            }
        )
    return told


def from_coco(content: Mapping[str, Any], name: str) -> dict[str, Labelled]:
    """Return the images of a COCO file by path. `name`: what the file is called. Raises InputError."""
    try:
        names = {one["id"]: str(one["name"]) for one in content["categories"]}
        boxes: dict[Any, list[Boxed]] = {one["id"]: [] for one in content["images"]}
        for one in content.get("annotations", ()):
            if one.get("iscrowd"):
                continue  # a box around many, which is no object
            x, y, width, height = map(float, one["bbox"])
            boxes[one["image_id"]].append(Boxed(names[one["category_id"]], (x, y, x + width, y + height)))
        return {
            str(one["file_name"]): Labelled(
                str(one["file_name"]), (int(one["width"]), int(one["height"])), tuple(boxes[one["id"]]), {}
            )
            for one in content["images"]
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        cure = "give an object with images, annotations and categories, as COCO has them"
        raise InputError(f"is no COCO file ({type(error).__name__}: {error})", path=name, cure=cure) from error


# -- YOLO --------------------------------------------------------------------------------------------------------------


def yolo_lines(image: Labelled, ids: Mapping[str, int]) -> str:
    width, height = image.size
    lines = []
    for one in image.objects:
        x1, y1, x2, y2 = one.box
        shares = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
        lines.append(f"{ids[one.name]} " + " ".join(f"{share:.8f}" for share in shares) + "\n")
    return "".join(lines)


def from_yolo(text: str, size: tuple[int, int], names: Names) -> list[Boxed]:
    width, height = size
    found = []
    for line in text.splitlines():
        number, *shares = line.split()
        cx, cy, wide, high = map(float, shares)
        box = ((cx - wide / 2) * width, (cy - high / 2) * height, (cx + wide / 2) * width, (cy + high / 2) * height)
        found.append(Boxed(names[int(number)], box))
    return found


def yolo_data(names: Names) -> str:
    """Return `data.yaml`. Strings of JSON are strings of YAML, but for characters that YAML wants escaped."""
    import json

    told = (_NO_YAML.sub(_escaped, json.dumps(name, ensure_ascii=False)) for name in names)
    listed = "".join(f"  {number}: {name}\n" for number, name in enumerate(told))
    return (
        f"path: .\ntrain: images\nval: images\nnames:\n{listed}"
        if names
        else "path: .\ntrain: images\nval: images\nnames: {}\n"
    )


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


# -- Label Studio ------------------------------------------------------------------------------------------------------


def label_studio_task(image: Labelled, model: str | None) -> dict[str, Any]:
    """Return a task with a prediction. Its picture is served from Label Studio's local files, below its root."""
    from urllib.parse import quote

    width, height = image.size
    results = []
    for number, one in enumerate(image.objects):
        x, y, wide, high = _sized(one.box)
        results.append(
            {
                "id": f"{number}",
                "from_name": "label",
                "to_name": "image",
                "type": "rectanglelabels",
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "value": {
                    "x": _round(100 * x / width),
                    "y": _round(100 * y / height),
                    "width": _round(100 * wide / width),
                    "height": _round(100 * high / height),
                    "rotation": 0,
                    "rectanglelabels": [one.name],
                },
            }
        )
    data = {
        "image": f"/data/local-files/?d={quote(image.path, errors='surrogateescape')}",
        "file_name": image.path,
        "caption": image.record.get("caption"),
    }
    prediction = {"model_version": model, "score": None, "result": results}
    return {"data": data, "predictions": [prediction]}


def from_label_studio(task: Mapping[str, Any]) -> list[Boxed]:
    found = []
    for one in task["predictions"][0]["result"]:
        value, width, height = one["value"], one["original_width"] / 100, one["original_height"] / 100
        x, y = value["x"] * width, value["y"] * height
        box = (x, y, x + value["width"] * width, y + value["height"] * height)
        found.append(Boxed(value["rectanglelabels"][0], box))
    return found


def label_studio_view(names: Names) -> bytes:
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name="image", value="$image")
    labels = ElementTree.SubElement(view, "RectangleLabels", name="label", toName="image")
    for name in names:
        ElementTree.SubElement(labels, "Label", value=_xml(name))
    return _xml_bytes(view)


# -- VOC ---------------------------------------------------------------------------------------------------------------


def voc_xml(image: Labelled) -> bytes:
    root = ElementTree.Element("annotation")
    _child(root, "filename", image.path)
    size = ElementTree.SubElement(root, "size")
    for name, value in zip(("width", "height", "depth"), (*image.size, 3), strict=True):
        _child(size, name, value)
    for one in image.objects:
        element = ElementTree.SubElement(root, "object")
        _child(element, "name", one.name)
        for name in ("truncated", "difficult"):
            _child(element, name, 0)
        box = ElementTree.SubElement(element, "bndbox")
        x1, y1, x2, y2 = _voc_corners(one.box, image.size)
        for name, value in zip(("xmin", "ymin", "xmax", "ymax"), (x1, y1, x2, y2), strict=True):
            _child(box, name, value)
    return _xml_bytes(root)


def _voc_corners(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the first and the last pixel of a box in each direction, counted from 1."""
    firsts = [min(round(low) + 1, most) for low, most in zip(box[:2], size, strict=True)]
    lasts = [max(round(high), first) for high, first in zip(box[2:], firsts, strict=True)]
    return firsts[0], firsts[1], lasts[0], lasts[1]


def from_voc(content: bytes) -> list[Boxed]:
    """Return the boxes of a VOC file of ours, or of a data set that counts pixels from 1."""
    found = []
    for element in ElementTree.fromstring(content).iter("object"):
        box = element.find("bndbox")
        assert box is not None
        x1, y1, x2, y2 = (float(box.findtext(name) or 0) for name in ("xmin", "ymin", "xmax", "ymax"))
        found.append(Boxed(element.findtext("name") or "", (x1 - 1, y1 - 1, x2, y2)))
    return found


# -- CSV ---------------------------------------------------------------------------------------------------------------


def csv_lines(images: Iterable[Labelled]) -> str:
    """Return lines of a table, without its head. An image without objects has one line, with an empty name."""
    out = StringIO()
    writer = csv.writer(out)
    for image in images:
        path, model = inert_field(image.path), inert_field(image.record.get("model"))
        for one in image.objects:
            writer.writerow([path, *image.size, inert_field(one.name), *map(_round, one.box), model])
        if not image.objects:
            writer.writerow([path, *image.size, "", "", "", "", "", model])
    return out.getvalue()


def inert_field(text: Any) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    text = "" if text is None else str(text)
    return f"'{text}" if text.startswith(_FORMULA) else text


# -- all ---------------------------------------------------------------------------------------------------------------


def _sized(box: Box) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = box
    return _round(x1), _round(y1), _round(x2 - x1), _round(y2 - y1)


def _round(value: float) -> float:
    return round(value, _DECIMALS)


def _child(parent: ElementTree.Element, name: str, value: Any) -> None:
    ElementTree.SubElement(parent, name).text = _xml(str(value))


def _xml(text: str) -> str:
    """Return a text without the characters that XML has no way to write."""
    return "".join(
        char
        if char in "\t\n\r" or (char >= " " and char not in "\ufffe\uffff" and not "\ud800" <= char <= "\udfff")
        else "\ufffd"
        for char in text
    )


def _xml_bytes(root: ElementTree.Element) -> bytes:
    ElementTree.indent(root)
    content: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"
