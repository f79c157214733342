"""`parse_reply`: what is there is found, what was repaired is flagged, and nothing is invented."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyze.annotate import parse_reply
from analyze.annotate.coordinates import place

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "vlm_raw"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data/vlm_raw")

CAT = '{"bbox_2d": [10, 20, 300, 400], "label": "cat"}'
DOG = '{"bbox_2d": [20, 30, 400, 500], "label": "dog"}'


@needs_shared
def test_every_recorded_case_has_the_right_number_of_objects_and_its_flags() -> None:
    cases = [json.loads(line) for line in (SHARED / "parser_cases.jsonl").read_text().splitlines()]
    assert len(cases) == 17
    for case in cases:
        reply = parse_reply(case["raw"])
        placed = place(reply.objects, "norm1000", size=(1000, 1000), sent=(1000, 1000))
        assert len(reply.objects) == len(placed.objects) == case["objects"], case["name"]
        assert {*reply.flags, *placed.flags} == set(case["flags"]), case["name"]
        assert [one["bbox"] for one in placed.objects] == case.get("boxes", [one["bbox"] for one in placed.objects])
        assert [one["name"] for one in placed.objects] == case.get("labels", [one["name"] for one in placed.objects])
        assert (reply.error is not None) == ("parse_failed" in case["flags"]), case["name"]


@needs_shared
def test_what_a_real_model_said_is_read() -> None:
    found = {path.name: parse_reply(path.read_text()) for path in SHARED.glob("*.txt")}
    food = found.pop("omni_recognition.cell06.0.txt")
    assert len(food.objects) == 7 and food.objects[0] == {"name": "米饭", "bbox": [0, 614, 224, 825]}
    for name, reply in found.items():
        has_boxes = name.startswith("think_with_images")  # others: points, and boxes in space
        assert (len(reply.objects), reply.error is None) == (int(has_boxes), has_boxes), name


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        (f"<think>Is it [1, 2, 3, 4]? Perhaps {DOG}</think>[{CAT}]", ["cat"]),
        (f"</think>\n[{CAT}]", ["cat"]),
        (f"[{CAT}]<think>I am done.</think>", ["cat"]),
        (f"[{CAT}, {DOG},]", ["cat", "dog"]),
        (f"[\n  // both of them\n  {CAT},\n  {DOG}\n]", ["cat", "dog"]),
        (f"{CAT}\n{DOG}", ["cat", "dog"]),
        (f"[{CAT}, {DOG}", ["cat", "dog"]),
        (f"[{CAT}, {DOG[:-1]}", ["cat", "dog"]),
        (f"[{CAT}, {DOG[:-3]}", ["cat"]),
        (f"First [1]: a list.\n[{CAT}]\nThat is all [2].", ["cat"]),
        (f"[{DOG}]\nNo, rather:\n[{CAT}]", ["cat"]),
        (f"```json\n[{DOG}]\n```\nNo, rather:\n```json\n[{CAT}]\n```", ["cat"]),
        (f"```json\n[{CAT}]", ["cat"]),
        (json.dumps(f"[{CAT}]"), ["cat"]),
        ('{"bbox_2d": [1, 2, 3, 4], "label": "cat", "bbox_2d": [5, 6, 7, 8], "label": "dog"}', ["cat", "dog"]),
        ('{"cat": [1, 2, 3, 4], "dog": [[5, 6, 7, 8]]}', ["cat", "dog"]),
        ('{"rationale": "r", "objects": [{"name": "cat", "bbox": [1, 2, 3, 4]}]}', ["cat"]),
        ("{'rationale': 'it\\'s', 'objects': [{'name': 'cat', 'bbox': (1, 2, 3, 4)}]}", ["cat"]),
        ('[{bbox_2d: [1, 2, 3, 4], label: "cat"}]', ["cat"]),
        ('[{"bbox_2d": [1 2 3 4], "label": "cat"}]', ["cat"]),
        ('[{"bbox_2d": [1, 2, 3, 4], "label": "the "big" cat"}]', None),
        ('[{"bbox_2d": [1, 2, 3, 4], "label": "6" pipe"}]', None),
        ('[{"bbox": {"x1": 1, "y1": 2, "x2": 3, "y2": 4}, "label": "cat"}]', ["cat"]),
        ('[{"label": "cat", "bbox_2d": "1, 2, 3, 4"}]', ["cat"]),
        ('[{"label": "cat", "bbox_2d": [[1, 2], [3, 4]]}]', ["cat"]),
        ('[{"bbox_2d": [1, 2, 3, 4, 5], "label": "cat"}, {"bbox_2d": [5, 6, 7, 8], "label": "dog"}]', ["dog"]),
        ('[{"bbox_2d": [1, 2, 3, 4], "label": "a\nb"}]', ["a\nb"]),
        ("[[1, 2, 3, 4], [5, 6, 7, 8]]", ["", ""]),
        ("<|ref|>cat<|/ref|><|det|>[[1, 2, 3, 4], [5, 6, 7, 8]]<|/det|>", ["cat", "cat"]),
        ("<ref>cat</ref><box>1 2 3 4</box> and <ref>dog</ref><box>(5,6),(7,8)</box>", ["cat", "dog"]),
        ("<|begin_of_box|>[[1, 2, 3, 4]]<|end_of_box|>", [""]),
        ("- cat: [1, 2, 3, 4]\n- **the dog**: [5, 6, 7, 8]", ["cat", "the dog"]),
        ("The cat is at [1, 2, 3, 4].", [""]),
        (f"At [1, 2, 3, 4]: {CAT}", ["cat"]),
        ('[["cat", [1, 2, 3, 4]], ["dog", [5, 6, 7, 8]]]', ["cat", "dog"]),
        ('{"bboxes": [[1, 2, 3, 4], [5, 6, 7, 8]], "labels": ["cat", "dog"]}', ["cat", "dog"]),
        ('{"result": {"objects": [{"bbox": [1, 2, 3, 4], "label": ["cat"]}]}}', ["cat"]),
        ("[{“bbox_2d”: [1, 2, 3, 4], “label”: “cat”}]", ["cat"]),
        ('{{"bbox_2d": [1, 2, 3, 4], "label": "cat"}}', ["cat"]),
        ('{"objects": [{"name": "sign <think>", "bbox": [1, 2, 3, 4]}]}', ["sign <think>"]),
        (
            '{"rationale": "see <box>1</box>", "objects": [{"name": "a</think>b", "bbox": [1, 2, 3, 4]}]}',
            ["a</think>b"],
        ),
        (f'The <box> on the left.\n{{"objects": [{CAT}]}}', ["cat"]),
        ('{"name": "cat", "position": [1, 2, 3, 4]}', ["cat"]),
        ('[{"category_name": "cat", "bbox": [1, 2, 3, 4]}]', ["cat"]),
        ('{"objects": [{"name": "cat", "bbox": {"x_min": 1, "y_min": 2, "x_max": 3, "y_max": 4}}]}', ["cat"]),
        (
            f'[{CAT[:-1]}, "children": [{DOG}], "attributes": [{{"name": "x", "value": [1, 2, 3, 4]}}]}}]',
            ["cat", "dog"],
        ),
        ('{"物体": [{"名称": "猫", "边界框": [1, 2, 3, 4]}]}', ["猫"]),
        ('{"objects"：[{"name"："猫，黑色"，"bbox"：[1，2，３，4]}]}', ["猫,黑色"]),
        (json.dumps(f'{{"objects": [{CAT}]}}')[1:-1], ["cat"]),
        ('Not at [1, 2, 3, 4].\n{"rationale": "none", "objects": []}', []),
        (f'First: [{CAT}]\nBut no:\n{{"objects": []}}', []),
        ('{"result": {"objects": []}}', []),
        ('{"objects": [], "detections": {"cat": [1, 2, 3, 4]}}', ["cat"]),
        ('{"objects": []}', []),
        ("There is nothing to see: []", []),
    ],
)
def test_objects_are_found_wherever_they_stand(raw: str, names: list[str] | None) -> None:
    reply = parse_reply(raw)
    assert reply.error is None
    if names is None:  # what it is called cannot be known
        assert len(reply.objects) == 1
    else:
        assert [one["name"] for one in reply.objects] == names


@pytest.mark.parametrize(
    "raw", [None, "", "I see nothing.", "null", "42", "[1]", "{[0]}", "[" * 5000, "<think>" + CAT, '"[{"']
)
def test_a_reply_without_a_list_is_an_error_and_not_an_image_without_objects(raw: str | None) -> None:
    reply = parse_reply(raw)
    assert reply.error and reply.objects == [] and "parse_failed" in reply.flags


def test_a_cut_off_reply_is_never_guessed_at() -> None:
    assert parse_reply('[{"bbox_2d": [10, 20, 30, 4', finish_reason="length").objects == []
    loop = parse_reply(f"[{CAT}, {', '.join([DOG] * 40)}, {DOG[:20]}", finish_reason="repetition")
    assert [one["name"] for one in loop.objects] == ["cat", "dog"]
    assert set(loop.flags) >= {"truncated", "deduplicated:39"}
    assert parse_reply('{"rationale": "left", "objects": []', finish_reason="length").error


def test_reasons_are_kept_from_their_field_or_from_the_prose_before() -> None:
    assert parse_reply(f'{{"rationale": "left of it", "objects": [{CAT}]}}').rationale == "left of it"
    assert parse_reply(f"The cat is on the left.\n```json\n[{CAT}]\n```").rationale == "The cat is on the left."
    assert parse_reply(f'{{"rationale": "a \\"b\\"", "objects": [{CAT}, {{"na').rationale == 'a "b"'
    assert parse_reply('{"rationale": "an empty street", "objects": []}').rationale == "an empty street"


# Without `}`: a text that ends in all the brackets it needs, in a string, is taken for whole where no server says.
names = st.text(st.sampled_from('ab中é"\\[]{,:0 1`\n😀'), min_size=1, max_size=6).filter(str.strip)
# Made as they are to be: hypothesis gives up where it has to throw away too many, which is a matter of luck.
ends = st.lists(st.integers(0, 1000), min_size=2, max_size=2, unique=True).map(sorted)
boxes = st.builds(lambda x, y: [x[0], y[0], x[1], y[1]], ends, ends)
objects = st.lists(st.fixed_dictionaries({"name": names, "bbox": boxes}), min_size=1, max_size=3)


def _forms(value: list[dict[str, Any]], *, ascii_only: bool, indent: int | None) -> list[str]:
    whole = {"rationale": "[1, 2, 3, 4] is {left}", "objects": value}
    listed, seeds = (json.dumps(one, ensure_ascii=ascii_only, indent=indent) for one in (value, whole))
    return [listed, seeds, f"It is there.\n```json\n{listed}\n```", f"<think>[[1, 2, 3, 4]]</think>{seeds}"]


@settings(max_examples=25)
@given(value=objects, ascii_only=st.booleans(), indent=st.sampled_from([None, 1]))
def test_a_reply_cut_at_any_byte_gives_the_first_of_its_objects_and_says_so(
    value: list[dict[str, Any]], ascii_only: bool, indent: int | None
) -> None:
    for text in _forms(value, ascii_only=ascii_only, indent=indent):
        whole = parse_reply(text, finish_reason="stop")
        assert whole.error is None and whole == parse_reply(text)
        raw = text.encode()
        for end in range(len(raw)):
            for reason in ("length", None):
                cut = parse_reply(raw[:end].decode(errors="ignore"), finish_reason=reason)
                assert cut.objects == whole.objects[: len(cut.objects)]
                assert cut.error or "truncated" in cut.flags or cut.objects == whole.objects


PIECES = [
    *"[]{}(),:'\"\\ \n",
    "```",
    "<box>",
    "<think>",
    "0",
    "1.5",
    "-9",
    "a",
    "bbox",
    CAT,
    DOG,
    "[1, 2, 3, 4]",
    "#",
    "é",
    "\\x",
]


@settings(max_examples=400)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join), st.sampled_from(["stop", "length", None]))
def test_nothing_a_model_can_say_is_an_exception(raw: str, reason: str | None) -> None:
    reply = parse_reply(raw, finish_reason=reason)
    assert all(len(one["bbox"]) == 4 and isinstance(one["name"], str) for one in reply.objects)


@pytest.mark.parametrize(
    "raw",
    [
        f"<box>({'9' * 5000}, 2), (3, 4)</box>",
        f'[{{"name": "a", "x": 1.5, "y": 2, "width": {"9" * 4000}, "height": 4}}]',
        '[{"name": "a", "x": 1e308, "y": 2, "width": 1e308, "height": 4}]',
        '[{"name": "a", "bbox": [1e308, NaN, 3, 4]}]',
    ],
    ids=["digits in tokens", "digits", "sum", "bounds"],
)
def test_numbers_that_no_image_has_are_no_boxes(raw: str) -> None:
    reply = parse_reply(raw)
    assert reply.objects == [] and reply.error is not None


@pytest.mark.parametrize(
    "raw",
    [
        "[" * 4000,
        "word [1] " * 4000,
        f"[{(CAT + ', ') * 800}",
        f"[{(CAT[:-1] + ',}, ') * 800}]",
        "<think>" * 3000,
        "<|object_ref_start|>" * 3000 + "<|box_start|>",
        "```json\n[1]\n```\n" * 1000,
        "[" * 20_000 + "}" * 20_000,
        "{" * 20_000 + "}" * 20_000,
        "<box>" + "1" * 20_000,
        '{"a": ' * 900 + "1" + "}" * 900,
        '{\\"a\\": [' * 5000,
    ],
    ids=lambda raw: raw[:12],
)
def test_a_reply_that_goes_round_in_circles_is_read_soon(raw: str) -> None:
    began = time.process_time()
    parse_reply(raw)
    assert time.process_time() - began < 2.0, "its square would be 5 to 30"
