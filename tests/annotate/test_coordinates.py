"""Boxes mean the same on the image whatever scale the model has."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from analyze.annotate.coordinates import from_thousandths, place, to_thousandths
from analyze.annotate.families import COORDS, Coords, family_of
from analyze.annotate.formats import from_voc
from analyze.annotate.measures import iou
from analyze.annotate.sizing import DEFAULT_MIN_PIXELS, sent_size

BOXES = Path(__file__).resolve().parents[3] / "shared" / "data" / "boxes" / "voc"
SIZE, SENT = (640, 480), (644, 476)


def numbers(coords: Coords) -> list[float]:
    """The middle quarter of an image of SIZE, as a model with these coordinates gives it."""
    shares = (0.25, 0.25, 0.75, 0.75)
    sides = {"norm1000": (1000, 1000), "norm999": (999, 999), "unit": (1, 1), "resized_px": SENT, "original_px": SIZE}
    across, down = sides[coords]
    return [share * side for share, side in zip(shares, (across, down, across, down), strict=True)]


@pytest.mark.parametrize("coords", COORDS)
def test_the_same_box_comes_out_of_every_scale(coords: Coords) -> None:
    placed = place([{"name": "a", "bbox": numbers(coords)}], coords, size=SIZE, sent=SENT)
    assert placed.objects == [{"name": "a", "bbox": [250, 250, 750, 750]}]
    assert placed.objects_px == [{"name": "a", "bbox": [160, 120, 480, 360]}]
    assert placed.flags == ()


@pytest.mark.parametrize(
    ("box", "expected", "flag"),
    [
        ([300, 400, 10, 20], [10, 20, 300, 400], "reordered"),
        ([-50, 0, 1200, 500], [0, 0, 1000, 500], "clipped"),
        ([0, 0, 10**30, 500], [0, 0, 1000, 500], "clipped"),
        ([0.1, 0.2, 0.3, 0.4], [100, 200, 300, 400], "rescaled:unit"),
        ([1100, 10, 1200, 20], None, "dropped:outside"),
    ],
)
def test_what_has_to_be_put_right_is_put_right_and_flagged(
    box: list[float], expected: list[int] | None, flag: str
) -> None:
    placed = place([{"name": "a", "bbox": box}], "norm1000", size=(1000, 1000), sent=(1000, 1000))
    assert [one["bbox"] for one in placed.objects] == ([] if expected is None else [expected])
    assert flag in placed.flags


def test_boxes_that_become_the_same_are_one_and_that_is_flagged() -> None:
    two = [{"name": "a", "bbox": [0, 0, 1200, 500]}, {"name": "a", "bbox": [0, 0, 1300, 500]}]
    placed = place(two, "norm1000", size=SIZE, sent=SENT)
    assert len(placed.objects) == 1 and "deduplicated:1" in placed.flags


def test_a_family_that_begins_with_y_is_turned() -> None:
    family = family_of("google/gemma-3-27b-it")
    placed = place(
        [{"name": "a", "bbox": [1, 2, 3, 4]}], family.coords, size=(1000, 1000), sent=(1, 1), is_y_first=True
    )
    assert family.is_y_first and placed.objects[0]["bbox"] == [2, 1, 4, 3]


@pytest.mark.parametrize(
    ("name", "coords", "factor"),
    [
        ("models/Qwen2.5-VL-32B-Instruct-AWQ", "resized_px", 28),
        ("Qwen/Qwen2-VL-7B-Instruct", "norm1000", 28),
        ("Qwen/Qwen3-VL-235B-A22B-Instruct", "norm1000", 32),
        ("deepseek-ai/deepseek-vl2", "norm999", None),
        ("moonshotai/Kimi-VL-A3B-Instruct", "unit", None),
        ("OpenGVLab/InternVL3-8B", "norm1000", None),
        ("tiny-random", "norm1000", None),
        ("my-model", "norm1000", None),
        (None, "norm1000", None),
    ],
)
def test_the_scale_is_known_by_the_models_name(name: str | None, coords: str, factor: int | None) -> None:
    family = family_of(name)
    assert (family.coords, family.factor) == (coords, factor)


def test_a_served_name_that_tells_nothing_leaves_the_path_to_tell() -> None:
    assert family_of("vl", "/data/Qwen2.5-VL-7B-Instruct").coords == "resized_px"


@pytest.mark.skipif(not BOXES.exists(), reason="needs ../shared/data/boxes")
def test_real_boxes_survive_thousandths() -> None:
    overlaps = []
    for path in sorted(BOXES.glob("*.xml")):
        size: Any = ElementTree.parse(path).getroot().find("size")
        sides = int(size.findtext("width")), int(size.findtext("height"))
        for one in from_voc(path.read_bytes()):
            overlaps.append(iou(one.box, from_thousandths(to_thousandths(one.box, sides), sides)))
    assert len(overlaps) == 40 and min(overlaps) >= 0.98


sides = st.integers(1, 20_000)


@given(width=sides, height=sides, factor=st.sampled_from([28, 32]))
@example(width=57, height=11_215, factor=28)
@example(width=20_000, height=100, factor=32)
def test_what_is_sent_is_what_the_model_would_make_of_it(width: int, height: int, factor: int) -> None:
    most = 1_000_000
    if max(width, height) > 200 * min(width, height):
        with pytest.raises(ValueError, match="ratio"):
            sent_size(width, height, factor=factor, max_pixels=most)
        return
    sent = sent_size(width, height, factor=factor, max_pixels=most)
    assert all(side % factor == 0 and side for side in sent)
    assert DEFAULT_MIN_PIXELS // 2 <= sent[0] * sent[1] <= most or min(sent) == factor
    assert sent_size(*sent, factor=factor, max_pixels=most) == sent, "the server changes nothing"


@given(width=sides, height=sides)
def test_a_model_without_a_rule_of_its_own_is_sent_no_more_than_is_there(width: int, height: int) -> None:
    if max(width, height) <= 200 * min(width, height):
        sent = sent_size(width, height, factor=None, max_pixels=100_000)
        assert sent[0] <= width and sent[1] <= height and sent[0] * sent[1] <= 100_000
