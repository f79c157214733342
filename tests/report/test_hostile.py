"""Whatever stands in a field is shown as text, wherever a run is shown: pages, Markdown, tables, pictures, console.

Each output of a run with hostile text in every field is held against that of a run with a harmless word there.
"""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import openpyxl
import pytest

from analyze.pipeline import run_pipeline
from analyze.report import build_report, compare_runs
from analyze.report.safe import visible
from tests.report import factory

HARMLESS = "word"
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
    "\ufeff\ufffe\uffff\U000e0000-\U000e007f]"
)
PAGES = ("report.html", "compare.html")
MARKDOWN = ("report.md", "compare.md")


def built(folder: Path, poison: str) -> Path:
    """Return the folder of a run with `poison` in every field, its report and its comparison with another built."""
    tasks = [factory.hostile_task(number, poison) for number in range(2)]
    run = factory.manifest(
        model=poison, engine=poison, settings={poison: poison}, versions={poison: poison}, same_family=[poison]
    )
    run["input"] = {"path": poison, "sha256": poison}
    run["instances"][0]["url"] = poison
    before = factory.write_run(folder / "before", tasks, run=factory.manifest(model="another" + poison))
    for task in tasks:
        task["target"] = task["target"] | {"code": "other"}
        for rival in task["rivals"]:
            rival |= {"outcome": "win", "tie_kind": None, "score": 1.0}
    (extra := factory.hostile_task(3, poison))["rivals"][0]["author"] = f"new{poison}"
    now = factory.write_run(folder / "now", [*tasks, extra], run=run)
    for name in ("failed", "rejects"):
        row = dict.fromkeys(("id", "task_id", "rival", "order", "probe", "kind", "message", "instance"), poison)
        row |= dict.fromkeys(("file", "reason", "raw"), poison) | {"attempts": 3, "line": 1}
        (now / f"{name}.jsonl").write_text(factory.json_line(row), encoding="utf-8")
    build_report(now, lang="en")
    (now / "console.txt").write_text(compare_runs(now, before, lang="en").sentence, encoding="utf-8", errors="replace")
    return now


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("harmless"), HARMLESS)


@pytest.fixture(scope="module", params=factory.HOSTILE)
def hostile(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    poison = factory.HOSTILE[request.param]
    return built(tmp_path_factory.mktemp("hostile"), poison), poison


class Shape(HTMLParser):
    """What a page is made of besides text: its tags, its attributes, where its addresses lead."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.addresses: set[str] = set()
        self.open: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {f"{tag} {name}" for name, _ in attrs}
        self.addresses |= {value or "" for name, value in attrs if name in ("href", "src", "action")}
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("name", PAGES)
def test_on_a_page(harmless: Path, hostile: tuple[Path, str], name: str):
    folder, poison = hostile
    page = (folder / name).read_text(encoding="utf-8")
    shape, plain = Shape(page), Shape((harmless / name).read_text(encoding="utf-8"))
    assert shape.open == []
    assert shape.tags - {"bdi"} <= plain.tags and shape.attributes <= plain.attributes
    assert {re.sub("task-[0-9a-f]+", "", address) for address in shape.addresses} == {
        re.sub("task-[0-9a-f]+", "", address) for address in plain.addresses
    }
    assert not UNSEEN.search(page)
    assert visible(poison, 40).split("\n")[0][:40] in shape.text
    assert len(page.encode()) < 2_000_000


def test_a_name_that_runs_to_the_left_does_not_turn_its_sentence(tmp_path: Path):
    folder = built(tmp_path, "שלום")
    for name in PAGES:
        heading = re.search("<h1>.*</h1>", (folder / name).read_text(encoding="utf-8"))
        assert heading and "<bdi>שלום" in heading[0]


@pytest.mark.parametrize("name", MARKDOWN)
def test_in_markdown(harmless: Path, hostile: tuple[Path, str], name: str):
    text, plain = ((folder / name).read_text(encoding="utf-8") for folder in (hostile[0], harmless))
    assert not UNSEEN.search(text)
    assert skeleton(text) == skeleton(plain)
    outside_code = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text)
    local = r"report\.html|compare\.html|summary\.csv|tables\.xlsx"
    assert not re.search(rf"(?<!\\)<\w|https?://|www\.|\]\((?!{local})|@\w", outside_code)
    assert len(text) < 100_000


def skeleton(text: str) -> list[str]:
    """Return what each line is: a heading, a quote, prose, or a row of so many cells."""
    kinds = []
    for line in text.split("\n"):
        cells = len(re.findall(r"(?<!\\)\|", line))
        kinds.append(f"row of {cells - 1}" if line.startswith("|") else re.match(r"#*|>?", line)[0] + f"{cells}")  # type: ignore[index]
    return kinds


def test_in_the_workbook(harmless: Path, hostile: tuple[Path, str]):
    folder, poison = hostile
    book, plain = (openpyxl.load_workbook(path / "tables.xlsx") for path in (folder, harmless))
    assert book.sheetnames == plain.sheetnames
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row if cell.value is not None]
    assert {cell.data_type for cell in cells} == {"s", "n"}
    assert [cell.coordinate for cell in cells if cell.hyperlink] == []
    texts = [cell.value for cell in cells if cell.data_type == "s"]
    assert not UNSEEN.search("".join(texts))
    assert max(len(text.encode("utf-16-le", "replace")) // 2 for text in texts) <= 32_767
    assert any(text.startswith(visible(poison, 40)[:40]) for text in texts)


def test_in_the_csv(harmless: Path, hostile: tuple[Path, str]):
    raw, plain = ((folder / "summary.csv").read_bytes() for folder in (hostile[0], harmless))
    rows, plain_rows = (list(csv.reader(io.StringIO(it.decode("utf-8-sig"), newline=""))) for it in (raw, plain))
    assert raw.startswith(b"\xef\xbb\xbf")
    assert [len(row) for row in rows] == [len(row) for row in plain_rows]
    assert [cell for row in rows[1:] for cell in row[:2] if re.match(r"\s*[=+@\t\r＝＋－＠-]", cell)] == []
    assert not UNSEEN.search(raw.decode("utf-8-sig"))


def test_in_pictures(hostile: tuple[Path, str]):
    for path in hostile[0].rglob("*.svg"):
        root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
        names = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert names <= {"svg", "style", "rect", "line", "circle", "text", "g", "path", "title"}, path
        assert not any(name.rpartition("}")[2].startswith("on") for element in root.iter() for name in element.attrib)
        assert not UNSEEN.search(path.read_text(encoding="utf-8"))


def test_in_the_sentence_on_the_console(hostile: tuple[Path, str]):
    text = (hostile[0] / "console.txt").read_text(encoding="utf-8")
    assert not UNSEEN.search(text) and "\n" not in text
    assert len(text) < 2_000


def test_in_what_the_pipeline_prints(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    rows = [
        {
            "task_id": f"{poison[:500]}{number}",
            "prompt": poison,
            "language": poison[:50],
            "tags": [poison],
            "target": {"author": f"{poison[:500]} 1", "code": poison},
            "rivals": [{"author": f"{poison[:500]} 2", "code": "x = 1", "passed": False}],
        }
        for number, poison in enumerate(factory.HOSTILE.values())
        if len(poison) < 1000
    ]
    source = tmp_path / "in\x1b[31m\u202e.jsonl"
    lines = [json.dumps(row) for row in rows] + ['{"task_id": "\\u001b[2Jx"}', "\x1b]0;title\x07 no json"]
    source.write_text("\n".join(lines), encoding="utf-8")
    run_pipeline(source, tmp_path / "out\x1b[31m", engine="measured", lang="en", skip_bad=True)
    said = "".join(capfd.readouterr())
    assert f"{len(rows)} tasks" in said
    assert not UNSEEN.search(said.replace("\r", ""))
