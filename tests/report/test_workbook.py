"""The workbook as a user's spreadsheet program sees it: read back with another library than it is written with."""

from __future__ import annotations

import io
import math
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openpyxl
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyze.lang import LANGS, Lang
from analyze.report import build_pages
from analyze.report import workbook as workbook_module
from analyze.report.texts import TEXTS
from analyze.report.workbook import Book, Cell, Column, Sheet
from tests.report import factory

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def read_back(data: bytes) -> Any:
    return openpyxl.load_workbook(io.BytesIO(data))


def workbook(sheets: Sequence[Sheet]) -> bytes:
    book = Book([sheet.name for sheet in sheets], NOON, "t")
    for sheet in sheets:
        book.take(sheet)
    book.finish()
    return book.result()


def one_sheet(rows: Sequence[Sequence[Cell]], *kinds: Any, name: str = "s") -> bytes:
    columns = [Column(f"c{at}", kind) for at, kind in enumerate(kinds or ("text",))]
    return workbook([Sheet(name, columns, rows)])


def values(data: bytes) -> list[list[Any]]:
    return [[cell.value for cell in row] for row in read_back(data).worksheets[0].iter_rows(min_row=2)]


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> dict[Lang, Any]:
    """The workbooks of a run of 24 tasks against four rivals, one a language."""
    made: dict[Lang, Any] = {}
    for lang in LANGS:
        folder = factory.run_of(tmp_path_factory.mktemp("workbook") / lang)
        made[lang] = openpyxl.load_workbook(build_pages(folder, lang=lang)["tables"])
    return made


def rows_of(sheet: Any) -> list[dict[str, Any]]:
    head, *rows = sheet.iter_rows(values_only=True)
    return [dict(zip(head, row, strict=True)) for row in rows]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1+1", "@SUM(A1)", "=cmd|' /C calc'!A0", "{=1}", "\t=1"])
def test_what_looks_like_a_formula_is_text(text: str):
    cell = read_back(one_sheet([[text]])).worksheets[0]["A2"]
    assert (cell.data_type, cell.value) == ("s", text)


@pytest.mark.parametrize("text", ["007", "12345678901234567890", "1e5", "0x1F", "TRUE", "2026-11-21", "1/2", "#N/A"])
def test_an_id_that_looks_like_a_number_keeps_every_sign(text: str):
    cell = read_back(one_sheet([[text]])).worksheets[0]["A2"]
    assert (cell.data_type, cell.value) == ("s", text)


@pytest.mark.parametrize("text", ["https://evil.example/", "mailto:a@b", "internal:'s'!A1", "https://x/" + "y" * 3000])
def test_an_address_is_text_and_no_link(text: str):
    cell = read_back(one_sheet([[text]])).worksheets[0]["A2"]
    assert (cell.value, cell.hyperlink) == (text, None)


def test_a_number_keeps_its_digits_under_a_format_that_shows_few():
    cell = read_back(one_sheet([[0.123456789012345]], "share")).worksheets[0]["A2"]
    assert (cell.value, cell.number_format) == (0.123456789012345, "0.0%")


def test_what_is_not_a_number_is_blank():
    assert values(one_sheet([[math.nan, math.inf, None, 0.0]], *["score"] * 4)) == [[None, None, None, 0]]


@pytest.mark.parametrize("sign", ["x", "好", "😀"])
def test_a_megabyte_is_cut_with_a_mark_below_what_a_cell_holds(sign: str):
    [[text]] = values(one_sheet([[sign * 1_000_000]]))
    assert len(text.encode("utf-16-le")) // 2 <= 32_767
    assert text.endswith(" … ⟨+984000⟩")


def test_control_characters_and_escapes_of_the_format_itself_are_shown():
    assert values(one_sheet([["\x1b[31m\x00\x0b"], ["_x000D_"], ["\ufffe\ud800"]])) == [
        ["␛[31m␀␋"],
        ["_x000D_"],
        ["⟨U+FFFE⟩\ufffd"],
    ]


@settings(deadline=None, max_examples=60)
@given(st.text(alphabet=st.characters(codec=None), max_size=60))
def test_any_text_can_be_read_back(text: str):
    [[found]] = values(one_sheet([["|" + text]]))
    assert found.startswith("|")
    if text.isprintable():
        assert found == "|" + text


def test_rows_beyond_a_sheet_go_on_in_the_next(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workbook_module, "MOST_ROWS", 10)
    book = read_back(one_sheet([[str(number)] for number in range(25)], name="Tasks"))
    assert book.sheetnames == ["Tasks", "Tasks (2)", "Tasks (3)"]
    assert [sheet.max_row for sheet in book] == [11, 11, 6]
    assert [sheet["A1"].value for sheet in book] == ["c0"] * 3
    assert book["Tasks (3)"]["A6"].value == "24"


def test_names_that_excel_refuses_are_made_fit_and_told_apart():
    sheets = [Sheet(name, [Column("c")], []) for name in ("a/b:c", "A_B_C", "x" * 40, "x" * 41, "'q'", "")]
    names = read_back(workbook(sheets)).sheetnames
    assert names[:2] == ["a_b_c", "A_B_C (2)"]
    assert len({name.lower() for name in names}) == 6
    assert all(0 < len(name) <= 31 for name in names)


def test_the_header_stays_in_view_and_filters():
    sheet = read_back(one_sheet([["a", 1]], "text", "whole")).worksheets[0]
    assert (sheet.freeze_panes, sheet.auto_filter.ref) == ("B2", "A1:B2")


def test_a_workbook_is_as_old_as_its_run_and_has_no_other_time_in_it():
    data = one_sheet([["a"]])
    assert read_back(data).properties.created == NOON.replace(tzinfo=None)
    assert {entry.date_time for entry in zipfile.ZipFile(io.BytesIO(data)).infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_another_process_writes_the_same_bytes(tmp_path: Path):
    folder = factory.run_of(tmp_path / "run", count=2)
    here = build_pages(folder, lang="en")["tables"].read_bytes()
    code = f"from pathlib import Path; from analyze.report import build_pages as b; b(Path({str(folder)!r}), lang='en')"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONHASHSEED": "7", "TZ": "Asia/Shanghai"})
    assert (folder / "tables.xlsx").read_bytes() == here


@pytest.mark.parametrize("lang", LANGS)
def test_a_workbook_has_these_sheets_in_the_language_of_the_report(books: dict[Lang, Any], lang: Lang):
    t = TEXTS[lang]
    keys = ("sheet_answer", "sheet_summary", "dimensions", "differences", "sheet_pairs", "sheet_check", "issues")
    keys += ("sheet_failures", "sheet_rejects", "sheet_facts", "how")
    assert books[lang].sheetnames == [t[key] for key in keys]


@pytest.mark.parametrize("lang", LANGS)
def test_no_two_columns_of_a_sheet_have_one_name(books: dict[Lang, Any], lang: Lang):
    for sheet in books[lang]:
        titles = [cell.value for cell in sheet[1]]
        assert len({*titles}) == len(titles), sheet.title


def test_the_summary_has_the_numbers_of_the_csv(tmp_path: Path):
    import csv

    made = build_pages(factory.run_of(tmp_path / "run", count=5), lang="en")
    table = [*csv.reader(made["summary"].read_text(encoding="utf-8-sig").splitlines())][1:]
    sheet = openpyxl.load_workbook(made["tables"])["Summary"]
    rows = [list(row) for row in sheet.iter_rows(min_row=2, values_only=True)]
    for in_csv, in_sheet in zip([table[-1], *table[:-1]], rows, strict=True):
        numbers = [None if text == "" else float(text) for text in in_csv[2:-1]]
        assert in_sheet[2:-1] == pytest.approx(numbers, abs=1e-6)


def test_every_pair_has_its_row_and_every_failure_and_reject(books: dict[Lang, Any]):
    pairs = rows_of(books["en"]["Tasks × rivals"])
    assert len(pairs) == 96
    assert pairs[0]["Task"] == "task-00" and pairs[0]["Outcome"] in ("win", "tie", "loss", "not judged")
    assert {row["Target passed its tests"] for row in pairs} == {"yes", "no", None}
    assert {row["Kind"] for row in rows_of(books["en"]["Failures"])} == {"answer cut off"}
    assert rows_of(books["en"]["Rejects"])[0]["Line"] == 25


def test_a_demo_says_so_in_the_first_sheet(tmp_path: Path):
    folder = factory.run_of(tmp_path / "run", count=1, demo=True)
    book = openpyxl.load_workbook(build_pages(folder, lang="en")["tables"])
    assert "Demo: these verdicts are noise" in [cell.value for cell in book.worksheets[0]["A"]]


@pytest.mark.parametrize("finished", [None, "yesterday", 7])
def test_a_run_without_a_time_is_a_workbook_all_the_same(tmp_path: Path, finished: Any):
    folder = factory.run_of(tmp_path / "run", count=1)
    (folder / "run.json").write_bytes(orjson.dumps({"finished": finished}))
    assert openpyxl.load_workbook(build_pages(folder, lang="zh")["tables"]).properties.created.year == 1980
