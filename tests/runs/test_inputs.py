"""Reading inputs: every format, packing and encoding that rows come in, and what is said of those that are broken."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import math
import os
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from analyze.errors import InputError, UsageError
from analyze.runs.inputs import Bad, Input, lines, tables

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ROWS = [{"id": str(number), "text": f"第 {number} 行"} for number in range(5)]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
TABLE = "id,text\n" + "".join(f"{row['id']},{row['text']}\n" for row in ROWS)
BOMS = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "gb18030"]
ZSTD_OPTIONS = {zstd.CompressionParameter.checksum_flag: 1}  # as the zstd command writes
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": lambda data: zstd.compress(data, options=ZSTD_OPTIONS),
}


def encoded(text: str, encoding: str) -> bytes:
    return BOMS.get(encoding, b"") + text.encode(encoding)


def read(folder: Path, data: str | bytes, name: str = "rows.jsonl") -> list[tuple[int, Any]]:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return list(Input(path).rows())


def values(rows: list[tuple[int, Any]]) -> list[Any]:
    return [value for _, value in rows]


def read_until_error(source: Input) -> tuple[list[Any], InputError]:
    """Return what came before the error, and the error."""
    found: list[Any] = []
    with pytest.raises(InputError) as caught:
        found.extend(value for _, value in source.rows())
    return found, caught.value


# --- which format ---


@pytest.mark.parametrize("packing", ["", ".gz", ".zst"])
@pytest.mark.parametrize(
    ("ending", "text"),
    [
        (".jsonl", LINES),
        (".ndjson", LINES),
        (".JSONL", LINES),
        (".json", LINES),
        (".json", json.dumps(ROWS, indent=1)),
        (".csv", TABLE),
        (".csv", TABLE.replace(",", ";")),
        (".csv", TABLE.replace(",", "\t")),
        (".tsv", TABLE.replace(",", "\t")),
    ],
)
def test_the_same_rows_come_out_of_every_format_and_packing(tmp_path, ending, text, packing):
    data = PACKERS.get(packing, bytes)(text.encode())
    assert values(read(tmp_path, data, f"rows.2026{ending}{packing}")) == ROWS


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(("ending", "text"), [(".jsonl", LINES), (".json", json.dumps(ROWS)), (".csv", TABLE)])
def test_the_same_rows_come_out_of_every_encoding(tmp_path, ending, text, newline, encoding):
    text = text.replace("\n", newline).rstrip("\r\n")  # the last line has no end
    assert values(read(tmp_path, encoded(text, encoding), f"rows{ending}")) == ROWS


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("rows.jsonl", gzip.compress(LINES.encode(), mtime=0)),
        ("rows.jsonl.gz", zstd.compress(LINES.encode())),
        ("rows.jsonl.zst", LINES.encode()),
    ],
)
def test_what_a_file_holds_counts_and_not_its_ending(tmp_path, name, data):
    assert values(read(tmp_path, data, name)) == ROWS


@pytest.mark.parametrize("pack", PACKERS.values())
def test_files_packed_in_parts_are_read_to_their_end(tmp_path, pack):
    data = LINES.encode()
    assert values(read(tmp_path, pack(data[:50]) + pack(b"") + pack(data[50:]))) == ROWS


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rows.doc", "unknown ending '.doc'"),
        ("rows.doc.gz", "unknown ending '.doc'"),
        ("rows.gz", "no ending"),
        ("rows", "no ending"),
    ],
)
def test_an_unknown_ending_is_refused_at_once_naming_the_known_ones(tmp_path, name, message):
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=message) as caught:
        Input(tmp_path / name)
    assert ".parquet" in str(caught.value)
    assert Input(tmp_path / name, format="csv").format == "csv"
    with pytest.raises(UsageError, match="'xml' is no format"):
        Input(tmp_path / name, format="xml")


def test_what_cannot_be_opened_is_refused_at_once(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"none\.jsonl: there is no such file"):
        Input(tmp_path / "none.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(InputError, match="is a directory"):
        Input(tmp_path / "folder.jsonl")
    (tmp_path / "rows.jsonl").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read everything
    with pytest.raises(InputError, match="no permission"):
        Input(tmp_path / "rows.jsonl")


@pytest.mark.parametrize(
    ("name", "data"),
    [("r.jsonl", b""), ("r.jsonl", b"\n \n"), ("r.json", b"[]"), ("r.csv", b"a,b\n"), ("r.json", b"\xef\xbb\xbf")],
)
def test_an_input_without_rows_is_refused(tmp_path, name, data):
    with pytest.raises(InputError, match=f"{name}: holds no rows"):
        read(tmp_path, data, name)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.json"])
@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", bytes(100), b"PK\x03\x04\x14\x00\x06\x00"])
def test_a_binary_file_is_refused_by_name(tmp_path, name, data):
    with pytest.raises(InputError, match=f"{name}: is a binary file"):
        read(tmp_path, data, name)


pieces = st.sampled_from([*b'[]{}",:\n\r\t\\ 1e.;', *"好".encode(), *"好".encode("gb18030"), 0, 0xFF, 0xFE])


@given(
    st.lists(pieces, max_size=40).map(bytes) | st.binary(max_size=40), st.sampled_from(["jsonl", "json", "csv", "tsv"])
)
@example(b"\xff\xfe", "csv")
@example(b"a\rb", "csv")
@example(b"\xef\xbb\xbf[", "json")
@example(b"PAR1", "jsonl")
@example(b"\x1f\x8b", "json")
def test_whatever_a_file_holds_it_is_rows_or_unusable(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, ending: str
):
    path = tmp_path_factory.getbasetemp() / f"any.{ending}"
    path.write_bytes(data)
    with suppress(InputError):
        numbers = [number for number, _ in Input(path).rows()]
        assert numbers == sorted(set(numbers)) and numbers[0] >= 1


# --- lines of JSON ---


def test_numbers_are_those_of_the_lines_blank_ones_counted(tmp_path):
    assert read(tmp_path, '\n{"a":1}\n\r\n  \n[2]\nnull\n3') == [(2, {"a": 1}), (5, [2]), (6, None), (7, 3)]


def test_line_ends_are_newlines_only(tmp_path):
    text = "a\u2028b\u2029c\x85d\x0be\x1cf"
    assert values(read(tmp_path, json.dumps({"t": text}, ensure_ascii=False))) == [{"t": text}]
    assert values(read(tmp_path, 'a,b\n"x\u2028y",z\x85z\n', "t.csv")) == [{"a": "x\u2028y", "b": "z\x85z"}]


@pytest.mark.parametrize("data", [rb'{"t": "\ud800"}', '{"t": "\ud800"}'.encode("utf-8", "surrogatepass")])
@pytest.mark.parametrize("shape", [b"%s\n", b"[%s]"])
def test_lone_surrogates_are_kept(tmp_path, data, shape):
    assert values(read(tmp_path, shape % data, "rows.json")) == [{"t": "\ud800"}]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_lone_surrogates_in_utf16_are_kept_wherever_they_stand(tmp_path, encoding):
    text = json.dumps({"t": "\ud800a😀\udc00"}, ensure_ascii=False)
    data = BOMS[encoding] + f"{text}\n{text}".encode(encoding, "surrogatepass")
    assert values(read(tmp_path, data)) == [{"t": "\ud800a😀\udc00"}] * 2


def test_numbers_that_json_lacks_are_read(tmp_path):
    (value,) = values(read(tmp_path, '{"a": NaN, "b": [-Infinity, 1e400]}'))
    assert math.isnan(value["a"]) and value["b"] == [-math.inf, math.inf]


def test_lines_of_ten_megabytes_are_read_in_every_encoding(tmp_path):
    row = {"t": "长" * 3_500_000}
    text = json.dumps(row, ensure_ascii=False)
    for encoding in ENCODINGS:
        assert values(read(tmp_path, encoded(f"{text}\n{text}\n", encoding))) == [row, row]
    assert values(read(tmp_path, f"[{text},{text}]", "rows.json")) == [row, row]
    assert values(read(tmp_path, f"t\n{row['t']}\n", "rows.csv")) == [row]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{'a': 1}", "no JSON: Expecting property name"),
        (b'{"a": 1', "no JSON: Expecting ',' delimiter"),
        (b'{"a": 1} {"a": 1}', "no JSON: Extra data"),
        (b'{"a": "\xff"}', "neither UTF-8 nor GB18030"),
        (b'{"a": "\xe4\xbd"}', "neither UTF-8 nor GB18030"),
        (b'{"a": "\x00"}', "no JSON: Invalid control character"),
        (b"[" * 100_000, "no JSON: nested too deeply"),
        (b'{"a":' * 100_000, "no JSON: nested too deeply"),
    ],
)
def test_a_bad_line_is_told_and_the_others_are_read(tmp_path, line, reason):
    good = '{"text": "好"}\n'.encode() * 20
    rows = read(tmp_path, good + line + b"\r\n" + good)
    assert [number for number, _ in rows] == list(range(1, 42))
    bad = rows.pop(20)[1]
    assert isinstance(bad, Bad) and bad.reason.startswith(reason)
    assert bad.raw == line.decode(errors="replace")[:2000]
    assert values(rows) == [{"text": "好"}] * 40


def test_a_bad_line_of_gb18030_and_of_utf16_is_told_too(tmp_path):
    good = '{"text": "好"}\n'
    rows = read(tmp_path, good.encode("gb18030") * 3 + b'{"\xff\xff"}\n')
    assert rows[3][1] == Bad("neither UTF-8 nor GB18030 text", '{"\ufffd\ufffd"}')
    rows = read(tmp_path, encoded(good + "好", "utf-16-le") + b"\x00")  # cut within a character
    assert rows[0] == (1, {"text": "好"}) and isinstance(rows[1][1], Bad)


def test_a_first_line_longer_than_the_sample_and_cut_in_a_character_stays_utf8(tmp_path):
    for shift in range(3):
        row = {"t": "x" * shift + "好" * 200_000}
        assert values(read(tmp_path, json.dumps(row, ensure_ascii=False))) == [row]


def test_a_line_without_end_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "LONGEST_ROW", 1 << 20)
    rows = read(tmp_path, b'{"a":1}\n' + b"[" * (5 << 20) + b'\n{"a":2}\n')
    assert rows[0] == (1, {"a": 1}) and rows[-1][1] == {"a": 2}
    assert rows[1] == (2, Bad("longer than 1 MiB", "[" * 2000)) and len(rows) == 3


# --- one array of JSON ---

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(json_values, min_size=1, max_size=8), st.booleans(), st.sampled_from([None, 1]), st.integers(1, 9))
def test_an_array_reads_the_same_wherever_its_text_is_cut(rows: list[Any], ascii: bool, indent: int | None, size: int):
    data = json.dumps(rows, ensure_ascii=ascii, indent=indent).encode("utf-8", "surrogatepass")
    text = io.BufferedReader(io.BytesIO(data), size)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "CHUNK_BYTES", size)
        found = list(lines.array_rows(text, "utf-8", "rows.json"))
    assert found == list(enumerate(rows, 1))


@pytest.mark.parametrize(
    ("text", "before", "message"),
    [
        ('[{"a":1},{"a":2}', 2, "in or after row 2: ']' expected, but the text ends"),
        ('[{"a":1},{"a":', 1, "in or after row 2: Expecting value, but the text ends"),
        ('[{"a":1},{"a":"x', 1, "in or after row 2: Unterminated string starting at at '\"x'"),
        ('[{"a":1}{"a":2}]', 1, "in or after row 1: ']' expected at '{\"a\":2}]'"),
        ('[{"a":1},]', 1, "in or after row 2: Expecting value at ']'"),
        ('[{"a":1}] [2]', 1, "in or after row 1: nothing more expected at '[2]'"),
        ('[{"a":1},' + "[" * 100_000, 1, "in or after row 2: nested too deeply"),
    ],
)
def test_a_broken_array_gives_the_rows_before_and_says_where_it_breaks(tmp_path, text, before, message):
    path = tmp_path / "rows.json"
    path.write_text(text)
    found, error = read_until_error(Input(path))
    assert len(found) == before and message in str(error)


def test_a_broken_array_is_not_read_on_to_its_end(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text('[{"a":1},{"a";2},' + '{"a":3},' * 500_000)
    source = Input(path)
    found, error = read_until_error(source)
    assert len(found) == 1 and "Expecting ':' delimiter at ';2}" in str(error)
    assert source.fraction_read is not None and source.fraction_read < 0.2


def test_bytes_that_are_no_text_end_an_array(tmp_path):
    path = tmp_path / "rows.json"
    path.write_bytes('[{"a":"好好好"},\n'.encode() + b'{"a":"\xff"}]')
    with pytest.raises(InputError, match="neither UTF-8 nor GB18030 text"):
        list(Input(path).rows())


# --- CSV and TSV ---


def test_cells_hold_delimiters_quotes_and_newlines(tmp_path):
    table = 'a,b\r\n"1,;\t","x\r\ny\n\n""z"""\r\n\r\n2,\n'
    assert read(tmp_path, table, "t.csv") == [(2, {"a": "1,;\t", "b": 'x\r\ny\n\n"z"'}), (7, {"a": "2", "b": ""})]


@pytest.mark.parametrize(
    ("header", "delimiter", "names"),
    [
        ("a,b", ",", ["a", "b"]),
        ("a;b,c;d", ";", ["a", "b,c", "d"]),
        ('"a;b;d",c', ",", ["a;b;d", "c"]),
        ("a\tb", "\t", ["a", "b"]),
        ("a", ",", ["a"]),
    ],
)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_delimiter_is_the_one_that_makes_most_columns(tmp_path, header, delimiter, names, encoding):
    row = delimiter.join("1" * len(names))
    assert values(read(tmp_path, encoded(f"\n{header}\n{row}\n", encoding), "t.csv")) == [dict.fromkeys(names, "1")]


def test_a_tsv_has_tabs_only(tmp_path):
    assert values(read(tmp_path, "a,b,c\td\n1,2\t3\n", "t.tsv")) == [{"a,b,c": "1,2", "d": "3"}]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"1", "1 cells, the header has 2"),
        (b"1,2,3", "3 cells, the header has 2"),
        (b'"1"x,2', "no CSV: ',' expected after '\"'"),
        (b"\xff,2", "neither UTF-8 nor GB18030"),
        (b'"\xff\n",2', "neither UTF-8 nor GB18030"),
    ],
)
def test_a_bad_row_of_a_table_is_told_and_the_others_are_read(tmp_path, row, reason):
    rows = read(tmp_path, b"a,b\n1,2\n" + row + b"\n3,4\n", "t.csv")
    assert [rows[0], rows[-1][1]] == [(2, {"a": "1", "b": "2"}), {"a": "3", "b": "4"}]
    number, bad = rows[1]
    assert number == 3 and isinstance(bad, Bad) and bad.reason.startswith(reason) and len(rows) == 3
    assert bad.raw == row.decode(errors="replace").partition("\n")[0]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("a,,b", "t.csv:2: column 2 has no name"),
        ("a,b,", "t.csv:2: column 3 has no name"),
        ("a,b,a", "t.csv:2: two columns are named 'a'"),
        ('"a"x,b', "t.csv:2: no CSV: "),
    ],
)
def test_a_header_that_does_not_name_every_column_is_refused(tmp_path, header, message):
    with pytest.raises(InputError) as caught:
        read(tmp_path, f"\n{header}\n1,2,3\n", "t.csv")
    assert message in str(caught.value)


@pytest.mark.parametrize("longest", [1 << 28, 1000])
def test_a_quote_that_never_closes_ends_the_table_where_it_opens(tmp_path, monkeypatch, longest):
    monkeypatch.setattr(tables, "LONGEST_ROW", longest)
    path = tmp_path / "t.csv"
    path.write_text('a,b\n1,2\n3,"x\n' + "5,6\n" * 1000)
    found, error = read_until_error(Input(path))
    assert found == [{"a": "1", "b": "2"}] and "t.csv:3: a quote opens in this row and never closes" in str(error)


# --- Parquet ---


@pytest.fixture
def parquet(tmp_path: Path) -> Callable[..., Path]:
    """Writes columns to a Parquet file."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as pq

    def write(columns: dict[str, Any], name: str = "t.parquet", **options: Any) -> Path:
        pq.write_table(pyarrow.table(columns), tmp_path / name, **options)
        return tmp_path / name

    return write


def test_a_table_of_parquet_becomes_rows_of_json(parquet):
    import pyarrow as pa

    moment = datetime(2026, 1, 2, 3, 4, 5)
    columns = {
        "text": ["行", None],
        "whole": [1, 2**63 - 1],
        "real": [1.5, math.nan],
        "moment": [moment, None],
        "moment_ns": pa.array([1, 0], pa.timestamp("ns")).cast(pa.timestamp("ns")),
        "moment_tz": [moment.replace(tzinfo=UTC), None],
        "day": [date(2026, 1, 2), None],
        "time": [time(1, 2), None],
        "price": [Decimal("1.50"), None],
        "bytes": [b"\xe8\xa1\x8c", b"\x89PNG"],
        "list": [[1.0, math.nan], []],
        "struct": [{"at": moment, "deep": [{"x": Decimal("0.1")}]}, None],
        "kind": pa.array(["a", "b"]).dictionary_encode(),
    }
    rows = list(Input(parquet(columns)).rows())
    assert [number for number, _ in rows] == [1, 2]
    assert rows[0][1].pop("moment_ns").startswith("1970-01-01T00:00:00")
    assert rows[0][1] == {
        "text": "行",
        "whole": 1,
        "real": 1.5,
        "moment": "2026-01-02T03:04:05",
        "moment_tz": "2026-01-02T03:04:05+00:00",
        "day": "2026-01-02",
        "time": "01:02:00",
        "price": "1.50",
        "bytes": "行",
        "list": [1.0, None],
        "struct": {"at": "2026-01-02T03:04:05", "deep": [{"x": "0.1"}]},
        "kind": "a",
    }
    assert rows[1][1]["whole"] == 2**63 - 1 and rows[1][1]["real"] is None and rows[1][1]["bytes"] == "iVBORw=="
    json.dumps([row for _, row in rows], allow_nan=False)


def test_parquet_is_known_by_what_it_holds(parquet, tmp_path):
    path = parquet({"a": [1, 2]}, "t.jsonl")
    assert values(list(Input(path).rows())) == [{"a": 1}, {"a": 2}]
    with pytest.raises(InputError, match=r"t\.parquet: is no Parquet file"):
        read(tmp_path, LINES, "t.parquet")


def test_a_parquet_file_counts_and_hashes_its_bytes_in_step(parquet):
    path = parquet({"a": [os.urandom(500).hex() for _ in range(20_000)]}, row_group_size=2000)
    source = Input(path)
    shares = [source.fraction_read for number, _ in source.rows() if number % 5000 == 0]
    assert all(abs(share - (at + 1) / 4) < 0.1 for at, share in enumerate(shares))
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() and source.fraction_read == 1.0


def test_a_damaged_parquet_file_is_told_after_the_rows_before(parquet):
    path = parquet({"a": [os.urandom(500).hex() for _ in range(20_000)]}, row_group_size=2000, write_page_checksum=True)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found, error = read_until_error(Input(path))
    assert 5000 < len(found) < 15_000 and "cannot be read as Parquet after row" in str(error)
    path.write_bytes(data[:-100])
    found, error = read_until_error(Input(path))
    assert found == [] and "cannot be read as Parquet after row 0" in str(error)


def test_memory_does_not_grow_with_a_row_group(parquet):
    import pyarrow

    path = parquet({"a": [os.urandom(500).hex() for _ in range(30_000)]}, row_group_size=10**9)
    before = pyarrow.total_allocated_bytes()
    held = max(pyarrow.total_allocated_bytes() for number, _ in Input(path).rows() if number % 1000 == 0)
    assert held - before < 8_000_000 < path.stat().st_size / 2


def test_without_pyarrow_the_cure_is_named(parquet, monkeypatch):
    path = parquet({"a": [1]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"pip install 'multi-vllm-analyze\[parquet\]'"):
        list(Input(path).rows())


def test_parquet_columns_of_one_name_are_refused(parquet, tmp_path):
    import pyarrow as pa
    from pyarrow import parquet as pq

    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="two columns are named 'a'"):
        list(Input(tmp_path / "t.parquet").rows())


# --- damage ---


@pytest.mark.parametrize("ending", [".gz", ".zst"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "trailed"])
def test_a_damaged_packed_file_gives_the_rows_before_and_then_an_error(tmp_path, ending, damage):
    rows = [{"id": os.urandom(200).hex()} for _ in range(5000)]
    data = bytearray(PACKERS[ending]("".join(json.dumps(row) + "\n" for row in rows).encode()))
    if damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "flipped":
        data[len(data) // 2] ^= 0xFF
    else:
        data += b"trailing garbage"
    path = tmp_path / f"rows.jsonl{ending}"
    path.write_bytes(data)
    source = Input(path)
    found, error = read_until_error(source)
    good = [value for value in found if not isinstance(value, Bad)]
    assert good[:1000] == rows[:1000]
    assert (found == rows) == (damage == "trailed")
    assert f"rows.jsonl{ending}: is packed, and damaged or cut short" in str(error) and source.sha256 is None
    if damage == "cut":
        assert found == rows[: len(found)]  # no half row


def test_a_packed_file_cut_at_any_byte_is_never_taken_for_whole(tmp_path):
    for ending, pack in PACKERS.items():
        data = pack(LINES.encode())
        for length in range(1, len(data)):
            path = tmp_path / f"rows.jsonl{ending}"
            path.write_bytes(data[:length])
            with pytest.raises(InputError):
                rows = list(Input(path).rows())
                if any(isinstance(value, Bad) for value in values(rows)):  # cut within the first bytes that tell
                    raise InputError("bad rows")


# --- pipes ---


@contextmanager
def piped(*parts: bytes | threading.Event) -> Iterator[int]:
    """A pipe that another thread writes these parts to, waiting for events between them."""
    end, start = os.pipe()

    def write() -> None:
        with open(start, "wb", buffering=0) as file:
            for part in parts:
                if isinstance(part, threading.Event):
                    part.wait(timeout=120)
                else:
                    file.write(part)

    thread = threading.Thread(target=write)
    thread.start()
    yield end
    os.close(end)
    thread.join()


@pytest.mark.parametrize("data", [LINES.encode(), gzip.compress(LINES.encode(), mtime=0), encoded(LINES, "utf-16-le")])
def test_a_pipe_is_read_once(data):
    with piped(*[data[at : at + 1] for at in range(len(data))]) as end:
        source = Input(f"/dev/fd/{end}")
        assert not source.can_be_read_again
        assert values(list(source.rows())) == ROWS
        assert source.fraction_read is None and source.sha256 == hashlib.sha256(data).hexdigest()
        with pytest.raises(InputError, match="can be read only once"):
            list(source.rows())


def test_a_row_of_a_pipe_is_there_as_soon_as_it_was_written():
    more = threading.Event()
    with piped(b'{"a": 1}\n{"a"', more, b": 2}\n") as end:
        rows = Input(f"/dev/fd/{end}").rows()
        assert next(rows) == (1, {"a": 1})
        more.set()
        assert list(rows) == [(2, {"a": 2})]


def test_a_named_pipe_is_opened_only_when_it_is_read(tmp_path):
    path = tmp_path / "rows.csv"
    os.mkfifo(path)
    source = Input(path)
    writer = threading.Thread(target=path.write_text, args=(TABLE,))
    writer.start()
    assert values(list(source.rows())) == ROWS
    writer.join()


def test_standard_input_holds_json_lines_unless_said_otherwise(tmp_path):
    code = "import sys; from analyze.runs.inputs import Input; s = Input('-', format=sys.argv[1] or None); "
    code += "print(len(list(s.rows())), s.name, s.can_be_read_again, s.fraction_read, s.sha256)"
    for format, data in {"": zstd.compress(LINES.encode()), "csv": encoded(TABLE, "gb18030")}.items():
        done = subprocess.run([sys.executable, "-c", code, format], input=data, capture_output=True, check=True)
        assert done.stdout.decode().strip() == f"5 standard input False None {hashlib.sha256(data).hexdigest()}"


def test_parquet_from_a_pipe_is_refused(parquet):
    with (
        piped(parquet({"a": [1]}).read_bytes()) as end,
        pytest.raises(InputError, match="is Parquet, which cannot be read from a pipe"),
    ):
        list(Input(f"/dev/fd/{end}", format="parquet").rows())


# --- what is known while reading ---


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_the_share_read_tells_how_many_rows_there_will_be(tmp_path, ending):
    rows = 40_000
    path = tmp_path / f"rows.jsonl{ending}"
    lines = b"".join(b'{"id": %d, "text": "%s"}\n' % (number, os.urandom(50).hex().encode()) for number in range(rows))
    path.write_bytes(PACKERS.get(ending, bytes)(lines))
    source = Input(path)
    assert source.fraction_read == 0.0 and source.sha256 is None
    for number, _ in source.rows():
        if number % 10_000 == 0:
            assert source.fraction_read is not None
            assert rows * 0.9 < number / source.fraction_read < rows * 1.1
    assert source.fraction_read == 1.0 and source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_share_read_of_a_small_file_is_no_more_than_was_given_out(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("{}\n" * 4)
    source = Input(path)
    assert [source.fraction_read for _ in source.rows()] == [0.25, 0.5, 0.75, 1.0]


def test_a_file_is_read_again_from_its_start_and_hashed_only_when_read_whole(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(LINES)
    source = Input(path)
    assert values(list(islice(source.rows(), 2))) == ROWS[:2] and source.sha256 is None
    for _ in range(2):
        assert values(list(source.rows())) == ROWS
        assert source.sha256 == hashlib.sha256(LINES.encode()).hexdigest()


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("r.jsonl", "utf-8"),
        ("r.jsonl", "utf-16-le"),
        ("r.jsonl", "gb18030"),
        ("r.jsonl.gz", "utf-8"),
        ("r.jsonl.zst", "utf-8"),
        ("r.json", "utf-8"),
        ("r.csv", "utf-8"),
    ],
)
def test_memory_does_not_grow_with_the_input(tmp_path, name, encoding):
    rows = 10_000
    if name == "r.json":
        text = "[" + ",".join([json.dumps({"text": "好" * 1000}, ensure_ascii=False)] * rows) + "]"
    elif name == "r.csv":
        text = "text\n" + ("好" * 1000 + "\n") * rows
    else:
        text = (json.dumps({"text": "好" * 1000}, ensure_ascii=False) + "\n") * rows
    path = tmp_path / name
    path.write_bytes(PACKERS.get(path.suffix, bytes)(encoded(text, encoding)))
    tracemalloc.start()
    try:
        assert sum(1 for _ in Input(path).rows()) == rows
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6_000_000 < len(text.encode()) / 4


def test_plain_text_has_a_row_on_each_line_that_is_not_blank(tmp_path: Path) -> None:
    path = tmp_path / "queries.txt"
    path.write_bytes("first\n\n  第二 行\u2028same line \r\nlast".encode())
    assert list(Input(path).rows()) == [(1, "first"), (3, "第二 行\u2028same line"), (4, "last")]


@pytest.mark.parametrize("indent", [None, 2])
def test_rows_may_be_listed_in_an_object(tmp_path: Path, indent: int | None) -> None:
    path = tmp_path / "queries.json"
    path.write_text(json.dumps({"about": {"x": [1]}, "queries": ["a", {"query": "b"}], "more": 3}, indent=indent))
    assert list(Input(path, list_key="queries").rows()) == [(1, "a"), (2, {"query": "b"})]
    path.write_text('{"query": "a"}\n{"query": "b"}\n')
    assert [value for _, value in Input(path, list_key="queries").rows()] == [{"query": "a"}, {"query": "b"}]


@pytest.mark.parametrize("broken", ['{"queries": ["a", ', '{"queries": ["a"] "b"}', '{"queries": ["a"]}x'])
def test_a_list_in_an_object_that_ends_wrongly_says_after_which_row(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "queries.json"
    path.write_text(broken)
    with pytest.raises(InputError, match=r"no JSON in or after row [12]"):
        list(Input(path, list_key="queries").rows())
