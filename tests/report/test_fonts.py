"""A font is chosen by the glyphs it has, and never draws a box."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyze.errors import UsageError
from analyze.report import fonts
from analyze.report.clouds import lay_out
from analyze.report.words import Word


@pytest.fixture
def latin_font(tmp_path: Path) -> str:
    """A font that has the letters A and B and nothing else."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    pen.lineTo((500, 0))
    pen.lineTo((500, 700))
    pen.closePath()
    names = [".notdef", "A", "B"]
    builder = FontBuilder(1000)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord("A"): "A", ord("B"): "B"})
    builder.setupGlyf({name: pen.glyph() for name in names})
    builder.setupHorizontalMetrics({name: (600, 0) for name in names})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Two", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    path = tmp_path / "two.ttf"
    builder.save(path)
    return str(path)


def test_a_given_font_with_the_glyphs_is_taken(latin_font: str):
    assert fonts.find_font("ABBA", latin_font) == latin_font


def test_a_given_font_without_the_glyphs_is_passed_over(latin_font: str):
    found = fonts.find_font("圈复杂度", latin_font)
    assert found not in (None, latin_font)
    assert found is not None and fonts.covers("圈复杂度", found)


def test_a_given_font_that_is_not_there_is_wrong_use_and_named():
    with pytest.raises(UsageError, match=r"/no/such\.ttf") as caught:
        fonts.find_font("A", "/no/such.ttf")
    assert caught.value.cure


def test_a_given_file_that_is_no_font_is_wrong_use(tmp_path: Path):
    path = tmp_path / "not.ttf"
    path.write_bytes(b"GIF89a" * 100)
    with pytest.raises(UsageError, match="not a font"):
        fonts.find_font("A", str(path))


def test_the_packaged_font_is_found_without_importing_its_package():
    import subprocess
    import sys

    code = (
        "import sys; from analyze.report.fonts import _packaged_font; "
        "print(_packaged_font(), 'zhplot' in sys.modules, 'matplotlib' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert said[0].endswith(".ttf")
    assert said[1:] == ["False", "False"]


def test_where_no_font_has_the_glyphs_there_is_none(monkeypatch: pytest.MonkeyPatch, latin_font: str):
    monkeypatch.setattr(fonts, "_system_fonts", lambda: [latin_font])
    monkeypatch.setattr(fonts, "_packaged_font", lambda: None)
    assert fonts.find_font("圈复杂度") is None
    assert lay_out([Word("圈复杂度", 3, "tag_even")]) is None


def test_a_damaged_font_of_the_system_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, latin_font: str):
    damaged = tmp_path / "damaged.ttf"
    damaged.write_bytes(Path(latin_font).read_bytes()[:300])
    monkeypatch.setattr(fonts, "_system_fonts", lambda: [str(damaged), latin_font])
    assert fonts.find_font("AB") == latin_font


def test_a_character_without_a_glyph_becomes_a_question_mark(latin_font: str):
    assert fonts.covered("A丁 B", latin_font) == "A? B"


@pytest.mark.parametrize(("kind", "may"), [(0, True), (4, True), (8, True), (2, False), (0x100, False), (0x200, False)])
def test_a_font_whose_licence_forbids_embedding_is_painted(latin_font: str, kind: int, may: bool):
    from fontTools.ttLib import TTFont

    with TTFont(latin_font) as font:
        font["OS/2"].fsType = kind
        font.save(latin_font)
    cloud = lay_out([Word("AB", 2, "word")], latin_font)
    assert cloud is not None and cloud.font == latin_font
    svg = cloud.svg("en", "a cloud of words", alone=True)
    assert ("font/woff" in svg, "data:image/png" in svg) == (may, not may)
