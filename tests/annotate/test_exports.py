"""What goes out in a format of others comes back the same, and is held against true boxes as it is."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own, for one call

from analyze.annotate import formats
from analyze.annotate.coordinates import place
from analyze.annotate.evaluate import as_json, evaluate, read_gold
from analyze.annotate.export import Content, export
from analyze.annotate.labelled import Boxed, Labelled, read
from analyze.annotate.measures import Pairs
from analyze.errors import InputError
from tests.annotate.conftest import CAT, Command, said

BOXES = Path(__file__).resolve().parents[3] / "shared" / "data" / "boxes" / "voc"
Row = dict[str, Any]

MADE = {  # width, height, boxes in pixels
    "a/one.jpg": (640, 480, [("红细胞", [10, 20, 110.25, 170]), ("cell \"x\"", [300, 200, 470, 333.5])]),
    "a/two.jpg": (100, 200, [("红细胞", [0, 0, 100, 200])]),
    "b/nothing.png": (64, 64, []),
}  # fmt: skip


def record(path: str, width: int, height: int, boxes: list[tuple[str, list[float]]]) -> Row:
    given = [{"name": name, "bbox": box} for name, box in boxes]
    placed = place(given, "original_px", size=(width, height), sent=(width, height))
    image = {"width": width, "height": height}
    told = {"status": "ok", "annotations_error": False, "image": image, "model": "=m", "id": path}
    return {"image_path": path, "objects": placed.objects, "objects_px": placed.objects_px, **told}


def write(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def made(tmp_path: Path) -> Path:
    rows = [record(path, *what) for path, what in MADE.items()]
    bad = {"image_path": "bad.jpg", "id": "bad.jpg", "annotations_error": True, "status": "invalid", "error": "why"}
    write(
        tmp_path / "out.jsonl.failed.jsonl", [{**bad, "id": "gone.jpg", "image_path": "gone.jpg", "status": "missing"}]
    )
    return write(tmp_path / "out.jsonl", [*rows, rows[0] | {"id": "a/one.jpg#2"}, bad])


def of_voc(tmp_path: Path) -> Path:
    rows = []
    for path in sorted(BOXES.glob("*.xml")):
        root = ElementTree.parse(path).getroot()
        size: Any = root.find("size")
        found = [(one.name, [*one.box]) for one in formats.from_voc(path.read_bytes())]
        name = root.findtext("filename") or ""
        rows.append(record(name, int(size.findtext("width")), int(size.findtext("height")), found))
    return write(tmp_path / "out.jsonl", rows)


Reader = Callable[[Path, Labelled, list[str]], list[Boxed]]
READERS: dict[str, Reader] = {
    "coco": lambda to, image, names: [*formats.from_coco(json.loads(to.read_text()), "x")[image.path].objects],
    "yolo": lambda to, image, names: formats.from_yolo(
        (to / "labels" / Path(image.path).with_suffix(".txt")).read_text(), image.size, names
    ),
    "label-studio": lambda to, image, names: next(
        formats.from_label_studio(task)
        for task in json.loads(to.read_text())
        if task["data"]["file_name"] == image.path
    ),
    "voc": lambda to, image, names: formats.from_voc(
        (to / "Annotations" / Path(image.path).with_suffix(".xml")).read_bytes()
    ),
    "csv": lambda to, image, names: [
        Boxed(row["name"], (float(row["x1"]), float(row["y1"]), float(row["x2"]), float(row["y2"])))
        for row in csv.DictReader(to.read_text("utf-8-sig").splitlines())
        if row["image"] == image.path and row["name"]
    ],
}


@pytest.mark.parametrize("format", READERS)
@pytest.mark.parametrize(
    "real", [False, pytest.param(True, marks=pytest.mark.skipif(not BOXES.exists(), reason="no data"))]
)
def test_a_round_trip_through_every_format_has_an_average_precision_of_one(
    made: Path, tmp_path: Path, format: str, real: bool
) -> None:
    output = of_voc(tmp_path) if real else made
    content = export(output, format, tmp_path / f"to.{format}")
    pairs = Pairs()
    for image in content:
        back = READERS[format](tmp_path / f"to.{format}", image, content.names)
        assert [one.name for one in back] == [one.name for one in image.objects]
        pairs.add(image.objects, back)
    measured = pairs.measured()
    assert measured.images == 3 and measured.total.true == content.boxes > 0
    assert (measured.ap, measured.ap50, measured.total.f1) == (1.0, 1.0, 1.0)


def test_only_good_annotations_go_out_and_the_rest_is_listed(made: Path) -> None:
    content = Content(made)
    assert (content.images, content.boxes, content.names) == (3, 3, ['cell "x"', "红细胞"])
    reasons = {(one.path, one.status) for one in content.excluded}
    assert reasons == {("bad.jpg", "invalid"), ("gone.jpg", "missing"), ("a/one.jpg", "duplicate")}


def test_exports_are_what_others_read(made: Path, tmp_path: Path) -> None:
    for format in READERS:
        export(made, format, tmp_path / format)
    coco = json.loads((tmp_path / "coco").read_text())
    assert [one["id"] for one in coco["categories"]] == [1, 2] and len(coco["images"]) == 3
    first = coco["annotations"][0]
    assert (first["bbox"], first["category_id"], first["iscrowd"]) == ([10, 20, 100.25, 150], 2, 0)
    assert (tmp_path / "yolo" / "labels" / "b" / "nothing.txt").read_text() == ""
    assert '0: "cell \\"x\\""' in (tmp_path / "yolo" / "data.yaml").read_text()
    task = json.loads((tmp_path / "label-studio").read_text())[1]
    assert task["predictions"][0]["result"][0]["value"]["width"] == 100
    view = ElementTree.parse(tmp_path / "label-studio.xml").getroot()
    assert [one.get("value") for one in view.iter("Label")] == ['cell "x"', "红细胞"]
    assert "'=m" in (tmp_path / "csv").read_text("utf-8-sig"), "no spreadsheet takes it for a formula"


def test_a_table_of_names_is_yaml_whatever_models_call_things(tmp_path: Path) -> None:
    names = ["a\x85b", "c\x9b", "del\x7f", "x\u2028y", "\ufeffz", "\ufffe", "😀", "- 猫", "null", 'q"\\', "tab\t\n"]
    objects = [(name, [1, 1, 5, 5]) for name in names]
    output = write(tmp_path / "out.jsonl", [record("a.jpg", 10, 10, objects)])
    export(output, "yolo", tmp_path / "yolo")
    told = yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_bytes())
    assert told["names"] == dict(enumerate(sorted(names)))


def test_images_that_a_format_cannot_tell_apart_are_refused(tmp_path: Path) -> None:
    output = write(tmp_path / "out.jsonl", [record(name, 10, 10, []) for name in ("a.jpg", "a.png")])
    with pytest.raises(InputError, match=r"would share a\.txt"):
        export(output, "yolo", tmp_path / "yolo")
    assert not (tmp_path / "yolo").exists() and not [*tmp_path.glob(".*part")], "whole or not at all"


def test_paths_that_lead_out_stay_below_the_export(tmp_path: Path) -> None:
    output = write(tmp_path / "out.jsonl", [record("../../evil.jpg", 10, 10, [])])
    export(output, "yolo", tmp_path / "deep" / "yolo")
    assert (tmp_path / "deep" / "yolo" / "labels" / "evil.txt").exists()


def test_figures_say_what_is_missed_what_is_wrong_and_what_is_called_otherwise(made: Path, tmp_path: Path) -> None:
    export(made, "coco", tmp_path / "gold.json")
    gold = read_gold(tmp_path / "gold.json")
    rows = [record(path, *what) for path, what in MADE.items()]
    moved = record("b/one.jpg", 640, 480, [("红细胞", [10, 20, 110, 120]), ("cup", [300, 200, 470, 333.5])])
    other = record("c.jpg", 10, 10, [("cup", [1, 1, 5, 5])])
    found = evaluate(write(tmp_path / "o2.jsonl", [moved, rows[2], other]), gold)
    assert (found.missing, found.others, found.unknown) == (1, 1, {"cup": 1})
    total = found.measured.total
    assert (total.true, total.given, total.right) == (3, 2, 1)
    assert total.f1 == pytest.approx(2 / 5) and total.mean_iou == pytest.approx(100 * 100 / (100.25 * 150), abs=1e-3)
    assert 0 < (found.measured.ap or 0) < (found.measured.ap50 or 0) < 1
    nothing = evaluate(write(tmp_path / "o3.jsonl", [record("a/two.jpg", 100, 200, [])]), gold)
    assert (nothing.measured.ap, nothing.measured.total.f1, nothing.measured.total.mean_iou) == (0.0, 0.0, None)


def test_an_image_of_the_same_name_in_another_folder_does_not_stand_for_the_true_one(tmp_path: Path) -> None:
    right, wrong = [("cat", [0.0, 0.0, 50.0, 50.0])], [("cat", [60.0, 60.0, 99.0, 99.0])]
    export(write(tmp_path / "true.jsonl", [record("a/1.jpg", 100, 100, right)]), "coco", tmp_path / "gold.json")
    rows = [record("b/1.jpg", 100, 100, wrong), record("a/1.jpg", 100, 100, right)]
    found = evaluate(write(tmp_path / "out.jsonl", rows), read_gold(tmp_path / "gold.json"))
    assert (found.measured.total.right, found.others) == (1, 1)


@pytest.mark.parametrize("format", READERS)
def test_half_a_character_and_a_name_that_is_no_utf_8_end_no_export(tmp_path: Path, format: str) -> None:
    row = record("caf\udce9.png", 100, 100, [("\ud83d", [0.0, 0.0, 50.0, 50.0])])
    output = write(tmp_path / "out.jsonl", [row | {"caption": "\ud800"}])
    assert export(output, format, tmp_path / "to").boxes == 1
    if format == "coco":
        found = evaluate(output, read_gold(tmp_path / "to"))
        assert found.measured.total.f1 == 1.0 and [*json.loads(as_json(found).encode())["names"]] == ["\ud83d"]


def test_an_export_never_takes_the_place_of_what_a_run_has_recorded(annotate: Command) -> None:
    annotate.rows(annotate.picture("a.png"), "missing.png")
    annotate.run()
    for ending in ("", ".failed.jsonl", ".run.json"):
        path = annotate.folder / f"out.jsonl{ending}"
        before = path.read_bytes()
        ended = annotate.other("export", "out.jsonl", "--format", "csv", "-o", path.name)
        assert ended.code == 2 and "already" in ended.err and path.read_bytes() == before


def test_a_gold_file_that_is_none_is_told(tmp_path: Path) -> None:
    for content in ("[]", '{"images": [{"id": 1}]}', "{"):
        (tmp_path / "gold.json").write_text(content)
        with pytest.raises(InputError, match=r"COCO|JSON"):
            read_gold(tmp_path / "gold.json")


def test_the_commands_go_from_a_run_to_a_preview_and_to_figures(annotate: Command) -> None:
    annotate.reply = lambda body: said(CAT | {"name": "猫"})
    annotate.rows(annotate.picture("a.png"), annotate.picture("b.jpg"))
    assert annotate.run().code == 0
    (annotate.folder / "images" / "b.jpg").unlink()
    ended = annotate.other("export", "out.jsonl", "--format", "coco", "-o", "gold.json")
    assert ended.code == 0 and "2 images with 2 boxes of 1 names" in ended.out, ended.err
    ended = annotate.other("evaluate", "out.jsonl", "--gold", "gold.json", "--json")
    assert ended.code == 0 and json.loads(ended.out)["ap"] == 1.0 and json.loads(ended.out)["names"]["猫"]["true"] == 2
    ended = annotate.other("evaluate", "out.jsonl", "--gold", "gold.json", "--lang", "zh")
    assert ended.code == 0 and "AP 1.000" in ended.out and "平均 IoU" in ended.out
    ended = annotate.other("preview", "out.jsonl", "--lang", "zh")
    assert ended.code == 0 and "无法显示的图片: 1" in ended.out, ended.err
    sheet = (annotate.folder / "out.jsonl.preview" / "index.html").read_text()
    assert sheet.count("<img") == 1 and "1 <bdi>猫</bdi>" in sheet and "://" not in sheet
    assert annotate.other("export", "out.jsonl", "--format", "yolo").code == 0
    assert "already" in annotate.other("export", "out.jsonl", "--format", "yolo").err
    assert [image.path for image in read(annotate.folder / "out.jsonl") if isinstance(image, Labelled)]
