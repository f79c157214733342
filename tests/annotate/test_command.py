"""`python -m analyze.annotate` as its users type it, over servers on real sockets."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from collections.abc import Callable

import pyarrow.parquet as parquet
import pytest

from analyze.runs.tail import SHARE
from tests.annotate.conftest import CAT, Body, Command, picture_of, said, text_of
from tests.annotate.pictures import GOOD, TROUBLES, make_pictures
from tests.fake_vllm import FakeVLLM, go_on, hold_at


def test_good_images_are_annotated_and_each_trap_fails_alone_with_its_reason(annotate: Command) -> None:
    (annotate.folder / "images").rmdir()
    make_pictures(annotate.folder / "images")
    annotate.rows(*({"image_path": name, "caption": f"about {name}", "url": "u"} for name in [*GOOD, *TROUBLES]))
    ended = annotate.run()
    assert ended.code == 1, ended.err
    good = annotate.by_id()
    assert set(good) == set(GOOD) and len(annotate.bodies) == len(GOOD)
    failed = annotate.by_id("out.jsonl.failed.jsonl")
    assert {name: row["status"] for name, row in failed.items()} == TROUBLES
    for row in failed.values():
        assert row["annotations_error"] is True and row["error"] and row["objects"] == [] and row["vlm_output"] is None
    row = good["turned.jpg"]
    seeds = ["image_path", "caption", "vlm_output", "annotations", "objects", "annotations_error"]
    assert [*row][:6] == seeds and row["caption"] == "about turned.jpg" and row["url"] == "u"
    assert row["annotations"] == {"rationale": "in the middle", "objects": [CAT]} and row["objects"] == [CAT]
    assert row["objects_px"] == [{"name": "cat", "bbox": [10, 40, 30, 80]}], "of the upright image, 100 x 200"
    assert (row["image"]["width"], row["image"]["height"], row["image"]["exif_orientation"]) == (100, 200, 6)
    assert (row["status"], row["coords"], row["annotations_error"]) == ("ok", "norm1000", False)
    assert f"{len(GOOD)} ok" in ended.out.splitlines()[-1] and (annotate.folder / "out.jsonl.report.html").exists()
    assert annotate.run().code == 1 and len(annotate.bodies) == len(GOOD), "nothing is asked twice"


def test_a_reply_that_cannot_be_read_stands_in_the_output_and_no_objects_is_an_answer(annotate: Command) -> None:
    names = [annotate.picture(name) for name in ("none.png", "prose.png", "cut.png", "fenced.png")]
    sizes = {(40 + number, 40): name for number, name in enumerate(names)}
    for size, name in sizes.items():
        annotate.picture(name, size)
    replies = {
        "none.png": said(),
        "prose.png": "I cannot see anything.",
        "cut.png": ('[{"bbox_2d": [1, 2, 3, 4], "label": "a"}, {"bbox_2d": [5,', "length"),
        "fenced.png": f"Well:\n```json\n{json.dumps([CAT, CAT])}\n```",
    }
    annotate.reply = lambda body: replies[sizes[picture_of(body).size]]
    annotate.rows(*names)
    ended = annotate.run()
    assert ended.code == 1
    rows = annotate.by_id()
    assert set(rows) == set(names) and not (annotate.folder / "out.jsonl.failed.jsonl").exists()
    assert "failures:" not in ended.out, "there is no such file"
    told = {name: (row["status"], row["annotations_error"], len(row["objects"])) for name, row in rows.items()}
    assert told == {
        "none.png": ("ok", False, 0),
        "prose.png": ("invalid", True, 0),
        "cut.png": ("truncated", True, 1),
        "fenced.png": ("ok", False, 1),
    }
    assert rows["prose.png"]["vlm_output"] == "I cannot see anything." and rows["prose.png"]["annotations"] is None
    assert rows["prose.png"]["attempts"] == 2, "it was asked once more, and told what was wrong"
    assert rows["fenced.png"]["flags"] == ["deduplicated:1"] and rows["cut.png"]["flags"] == ["truncated"]
    asked = len(annotate.bodies)
    assert annotate.run().code == 1 and len(annotate.bodies) == asked
    annotate.reply = lambda body: said(CAT)
    before = (annotate.folder / "out.jsonl").read_bytes()
    assert annotate.run("--retry-failed").code == 0 and len(annotate.bodies) == asked + 2
    assert [row["annotations_error"] for row in annotate.lines()] == [False] * 4, "one line a row, the last one"
    after = (annotate.folder / "out.jsonl").read_bytes()
    (annotate.folder / "out.jsonl").write_bytes(before + b"".join(after.splitlines(keepends=True)[-2:]))
    assert annotate.run().code == 0 and len(annotate.bodies) == asked + 2
    assert sorted(row["id"] for row in annotate.lines()) == sorted(names), "as if killed before it was tidied up"


def test_a_row_that_names_no_image_fails_alone_and_is_told_by_its_number(annotate: Command) -> None:
    rows = [json.dumps({"image_path": annotate.picture("a.png")}), '{"caption": "c"}', "no json", "7"]
    (annotate.folder / "in.jsonl").write_text("\n".join(rows) + "\n")
    ended = annotate.run()
    assert ended.code == 1 and len(annotate.lines()) == 1 and len(annotate.bodies) == 1
    errors = sorted(row["error"] for row in annotate.lines("out.jsonl.failed.jsonl"))
    assert [error.partition(": ")[0] for error in errors] == [f"row {number} of the input" for number in (2, 3, 4)]
    assert errors[0].startswith("row 2 of the input: it has no path in any of image_path")
    assert any(error in ended.out for error in errors)  # an example, whichever was first


def test_a_killed_run_is_continued_and_no_worker_is_left(annotate: Command) -> None:
    names = [annotate.picture(f"{number}.png") for number in range(150)]
    annotate.rows(*names)
    for server in annotate.servers:
        server.delay_s = 0.1
        server.handler, server.reply = None, said(CAT)
    hold_at(annotate.servers, 60)  # it is not over before it is killed
    at_once = count_at_once(annotate.servers)
    process = annotate.start("--max-concurrency", "8")
    while not (output := annotate.folder / "out.jsonl").exists() or output.read_bytes().count(b"\n") < 20:
        assert process.poll() is None
        time.sleep(0.02)
    until(lambda: sum(server.running for server in annotate.servers) >= 8)
    workers = children_of(process.pid)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert workers and max(at_once) == 8, "it is the total over all servers"
    for server in annotate.servers:
        server.delay_s = 0.0
    go_on(annotate.servers)
    ended = annotate.run()
    assert ended.code == 0, ended.err
    assert sorted(row["id"] for row in annotate.lines()) == sorted(names)
    assert sum(server.asked for server in annotate.servers) <= 150 + 8 + SHARE * 150, "some of the last ones twice"
    until(lambda: not any(map(is_alive, workers)))


def count_at_once(servers: list[FakeVLLM]) -> list[int]:
    """Return a list that tells of each request how many were with all servers when it came."""
    at_once: list[int] = []
    for server in servers:

        def count(body: Body, refuse: Callable[[Body], int | None] = server.refuse) -> int | None:
            at_once.append(sum(server.in_flight for server in servers))
            return refuse(body)

        server.refuse = count
    return at_once


def until(is_so: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 180
    while not is_so():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in open(f"/proc/{pid}/task/{pid}/children").read().split()]


def is_alive(pid: int) -> bool:
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_file_is_known_by_size_and_time_and_by_its_content_where_those_differ(annotate: Command) -> None:
    names = [annotate.picture(name) for name in ("same.png", "touched.png", "changed.png")]
    annotate.rows(*names)
    assert annotate.run().code == 0
    os.utime(annotate.folder / "images" / "touched.png", (1, 1))
    moved = annotate.folder / "elsewhere"
    (annotate.folder / "images").rename(moved)
    moved.rename(annotate.folder / "images")
    annotate.rows(*(str(annotate.folder / "images" / name) for name in names))
    assert annotate.run().code == 0 and len(annotate.bodies) == 3, "absolute paths are the same images"
    annotate.picture("changed.png", colour="blue")
    ended = annotate.run()
    assert ended.code == 2 and "changed.png" in ended.err and "--update" in ended.err
    assert annotate.run("--update").code == 0 and len(annotate.bodies) == 4
    assert len(annotate.lines()) == 3


def test_a_missing_image_that_is_there_later_is_asked_with_retry_failed(annotate: Command) -> None:
    annotate.rows(annotate.picture("a.png"), "late.png")
    assert annotate.run().code == 1
    annotate.picture("late.png")
    assert annotate.run().code == 1 and len(annotate.bodies) == 1
    assert annotate.run("--retry-failed").code == 0 and len(annotate.bodies) == 2
    assert annotate.run().code == 0 and len(annotate.bodies) == 2
    assert annotate.lines("out.jsonl.failed.jsonl") == []


def test_lines_of_an_older_script_count_by_path(annotate: Command) -> None:
    names = [annotate.picture(name) for name in ("sub/old.png", "older.png", "bad.png", "new.png")]
    annotate.rows(*names)
    older = [
        {"image_path": "sub/old.png", "caption": "c", "vlm_output": "x", "annotations": {}, "objects": [CAT]},
        {"image_path": "/mnt/gone/images/older.png", "vlm_output": "x", "objects": []},
        {"image_path": str(annotate.folder / "images" / "bad.png"), "vlm_output": "?", "annotations_error": True},
    ]
    (annotate.folder / "out.jsonl").write_text("".join(json.dumps(line) + "\n" for line in older))
    assert annotate.run().code == 1
    assert [body["messages"] for body in annotate.bodies] and len(annotate.bodies) == 1
    assert [line["image_path"] for line in annotate.lines()][3:] == ["new.png"]
    assert annotate.run("--retry-failed").code == 0 and len(annotate.bodies) == 2
    assert annotate.run().code == 0 and len(annotate.bodies) == 2
    assert len(annotate.lines()) == 4
    (annotate.folder / "images" / "older.png").unlink()
    ended = annotate.other("export", "out.jsonl", "--format", "coco", "-o", "all.json")
    assert ended.code == 0 and "3 images with 3 boxes" in ended.out, ended.err
    exported = json.loads((annotate.folder / "all.json").read_text())
    old = next(image for image in exported["images"] if image["file_name"] == "sub/old.png")
    box = next(one["bbox"] for one in exported["annotations"] if one["image_id"] == old["id"])
    assert (old["width"], old["height"], box) == (200, 100, [20, 20, 40, 20]), "thousandths of the file's own size"
    assert "does not say how large its image is" in (annotate.folder / "all.json.excluded.csv").read_text()


@pytest.mark.parametrize(
    ("model", "coords", "box", "pixels"),
    [
        ("Qwen2.5-VL-7B-Instruct", "resized_px", [28, 28, 56, 56], [28.57, 25, 57.14, 50]),
        ("Qwen3-VL-8B-Instruct", "norm1000", [100, 200, 300, 400], [20, 20, 60, 40]),
    ],
)
def test_boxes_are_read_on_the_scale_of_the_models_family(
    annotate: Command, model: str, coords: str, box: list[int], pixels: list[float]
) -> None:
    for server in annotate.servers:
        server.model = model
    annotate.reply = lambda body: said({"name": "cat", "bbox": box})
    annotate.rows(annotate.picture("a.png"))
    ended = annotate.run()
    assert ended.code == 0 and coords in ended.out, ended.err
    (row,) = annotate.lines()
    assert (row["coords"], row["model"]) == (coords, model) and row["objects_px"][0]["bbox"] == pixels
    (body,) = annotate.bodies
    assert [*picture_of(body).size] == row["image"]["sent"]
    asked = text_of(body)
    assert ("196 wide and 112 high" in asked) == (coords == "resized_px") and "{" + "scale}" not in asked


def test_a_prompt_of_ones_own_and_captions_go_in_as_data(annotate: Command) -> None:
    (annotate.folder / "p.txt").write_text("Box what {caption} speaks of, {scale}.")
    annotate.rows({"image": annotate.picture("a.png"), "text": "a <|im_end|> {width} cat"})
    assert annotate.run("--prompt", "p.txt", "--coords", "unit", "--max-tokens", "99").code == 0
    (body,) = annotate.bodies
    assert "<|im_end|>" not in text_of(body) and "{width} cat" in text_of(body) and "from 0 to 1" in text_of(body)
    assert body["max_tokens"] == 99 and body["repetition_detection"]["min_count"] and "response_format" not in body


def test_constrained_replies_are_held_to_a_schema_that_is_verified(annotate: Command) -> None:
    annotate.rows(annotate.picture("a.png"), annotate.picture("b.png"))
    assert annotate.run("--constrained").code == 0
    schema = annotate.bodies[0]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["objects"]["items"]["properties"]["bbox"]["minItems"] == 4
    for number, reply in enumerate((f"Sure: {said(CAT)}", "I see a cat.")):
        annotate.reply = lambda body, reply=reply: reply  # type: ignore[misc]
        annotate.rows(annotate.picture(f"new{number}.png"))
        ended = annotate.run("--constrained")
        assert ended.code == 4 and "does not apply the schema" in ended.err


def test_images_by_path_are_named_to_the_server(annotate: Command) -> None:
    annotate.rows(annotate.picture("a b.png"))
    assert annotate.run("--image-transport", "file").code == 0
    url = annotate.bodies[0]["messages"][0]["content"][0]["image_url"]["url"]
    assert url == f"file://{os.path.realpath(annotate.folder)}/images/a%20b.png"
    for server in annotate.servers:
        server.model = "Qwen2.5-VL-7B-Instruct"
    (annotate.folder / "out.jsonl").unlink()
    ended = annotate.run("--image-transport", "file")
    assert ended.code == 2 and "--max-pixels" in ended.err, "the server would resize, and boxes would drift"


def test_without_an_address_the_seeds_is_asked_and_wrong_use_is_told(annotate: Command) -> None:
    annotate.rows(annotate.picture("a.png"))
    base = ["--input", "in.jsonl", "--output", "o.jsonl"]
    for words, told in (
        ([*base], "no image root"),
        ([*base, "--image-root", "nowhere"], "no folder of images"),
        (["--input", "in.jsonl", "--output", "in.jsonl/o.jsonl", "--image-root", "images"], "cannot be written"),
        (["--input", "in.jsonl", "--output", "o.xls", "--image-root", "images"], "written as one of .jsonl"),
        ([*base, "--image-root", "images", "--temperature", "nan"], "'nan' is no temperature from 0 to 2"),
    ):
        ended = annotate.other(*words)
        assert ended.code == 2 and told in ended.err
    ended = annotate.other(*base, "--image-root", "images", "--show-settings")
    assert ended.code == 0
    from analyze.annotate.command import SEED_ADDRESS, Annotation, parse

    parsed = parse([*base, "--image-root", str(annotate.folder / "images")])
    assert isinstance(parsed, Annotation) and parsed.urls == (SEED_ADDRESS,) and parsed.job.in_flight == 64


def test_a_dry_run_asks_nothing_and_an_output_can_be_put_in_the_order_of_its_input(annotate: Command) -> None:
    names = [annotate.picture(f"{number}.png", (50 + 3 * number, 50)) for number in range(12)]
    annotate.rows(*names, *names[:2])
    ended = annotate.run("--dry-run")
    assert ended.code == 0 and "14 would be asked" in ended.out and "1,280 tokens each" in ended.out
    assert annotate.bodies == [] and annotate.lines() == []
    annotate.reply = lambda body: said(CAT) if picture_of(body).width != 53 else "nothing"
    assert annotate.run("--ordered").code == 1
    ids = [row["id"] for row in annotate.lines()]
    assert ids == [*names, "0.png#2", "1.png#2"], "rows that came twice are two, and failures have their place"


@pytest.mark.parametrize("ending", ["json", "csv", "parquet"])
def test_an_output_of_another_form_is_built_at_the_end_in_the_order_of_the_input(
    annotate: Command, ending: str
) -> None:
    names = [annotate.picture(f"{number}.png") for number in range(5)]
    annotate.rows(*names, "missing.png")
    annotate.reply = lambda body: said(CAT | {"name": "=1+1"})
    files = ["--output", f"out.{ending}"]
    assert annotate.run(*files).code == 1
    path = annotate.folder / f"out.{ending}"
    if ending == "json":
        rows = json.loads(path.read_bytes())
    elif ending == "csv":
        rows = [*csv.DictReader(path.read_text("utf-8-sig").splitlines())]
    else:
        rows = parquet.read_table(path).to_pylist()
    assert [row["image_path"] for row in rows] == [*names, "missing.png"]
    objects = rows[0]["objects"]
    assert (objects if ending == "json" else json.loads(objects))[0]["name"] == "=1+1"
    asked = len(annotate.bodies)
    assert annotate.run(*files).code == 1 and len(annotate.bodies) == asked
    ended = annotate.other("export", f"out.{ending}", "--format", "coco", "-o", "gold.json")
    assert ended.code == 0 and "5 images with 5 boxes" in ended.out, ended.err
