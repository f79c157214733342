"""A word cloud is the same each time, shows issues first, and is small."""

from __future__ import annotations

from itertools import combinations
from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageFont

from analyze.judge.issues import ISSUES
from analyze.report.clouds import lay_out
from analyze.report.words import Word

SVG = "{http://www.w3.org/2000/svg}"


def words(count: int = 12) -> list[Word]:
    tags = [Word(label.zh, 3 * count - n, "tag_target") for n, label in enumerate(list(ISSUES.values())[:count])]
    return tags + [Word(f"单词{n}", 500 - n, "word") for n in range(40)]


def test_the_same_words_give_the_same_bytes():
    first, second = lay_out(words()), lay_out(words())
    assert first is not None and second is not None
    assert first.png == second.png
    assert first.svg("zh", "") == second.svg("zh", "")


def test_every_issue_is_drawn_however_often_words_of_free_text_appear():
    cloud = lay_out(words(24))
    assert cloud is not None
    drawn = {it.word.text for it in cloud.placed}
    assert {word.text for word in words(24) if word.is_tag} <= drawn


def test_a_word_that_was_not_drawn_is_named():
    cloud = lay_out(words())
    assert cloud is not None
    chosen = {it.word for it in cloud.placed} | set(cloud.left_out)
    assert len(chosen) == len(cloud.placed) + len(cloud.left_out) == 12 + 30


def test_the_svg_has_the_words_as_text_inside_its_frame_and_is_small():
    cloud = lay_out(words())
    assert cloud is not None
    svg = cloud.svg("zh", "a label", alone=True)
    assert len(svg) < 60_000
    texts = ElementTree.fromstring(svg).findall(f".//{SVG}text")
    assert {text.text for text in texts} == {it.word.text for it in cloud.placed}
    assert all(0 <= float(text.get("x", -1)) < 760 and 0 < float(text.get("y", -1)) < cloud.height for text in texts)


def test_two_words_beside_each_other_do_not_read_as_one():
    cloud = lay_out(words())
    assert cloud is not None
    boxes = []
    for it in cloud.placed:
        ink, (left, top) = ImageFont.truetype(cloud.font, it.size).getmask2(it.word.text, anchor="ls")
        x1, y1, x2, y2 = ink.getbbox()
        boxes.append((it.x + left + x1, it.y + top + y1, it.x + left + x2, it.y + top + y2))
    beside = [(a, b) for a, b in combinations(boxes, 2) if abs(a[3] - b[3]) < 0.3 * min(a[3] - a[1], b[3] - b[1])]
    assert min(max(b[0] - a[2], a[0] - b[2]) for a, b in beside) >= 8


def test_no_words_no_cloud():
    assert lay_out([]) is None


def test_one_word_is_a_cloud():
    cloud = lay_out([Word("alone", 1, "word")])
    assert cloud is not None and [it.word.text for it in cloud.placed] == ["alone"]


def test_a_hostile_word_is_text():
    cloud = lay_out([Word("</style><script>alert(1)</script>", 1, "tag_even")])
    assert cloud is not None
    assert "<script>" not in cloud.svg("en", '"><script>')


def test_a_word_without_glyphs_is_left_out_and_named():
    rare = Word("\U00030000", 1, "word")
    cloud = lay_out([*words(), rare])
    assert cloud is not None
    assert all(it.word != rare for it in cloud.placed)


@settings(max_examples=10, deadline=None)
@given(
    st.lists(
        st.tuples(st.text("abcxyz", min_size=2, max_size=9), st.integers(1, 99)), max_size=8, unique_by=lambda it: it[0]
    )
)
def test_any_counts_can_be_laid_out(counts: list[tuple[str, int]]):
    cloud = lay_out([Word(text, count, "word") for text, count in counts])
    assert (cloud is None) == (not counts)
