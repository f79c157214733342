"""From a run folder to its report, and nothing but the folder."""

from __future__ import annotations

import csv
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import orjson
import pytest

from analyze.errors import InputError, UsageError
from analyze.lang import LANGS, Lang
from analyze.report import build_pages, build_pictures, build_report, fonts
from analyze.report.texts import TEXTS
from analyze.stats import clopper_pearson
from tests.report import factory

CHARTS = ("check", "probes", "win_rate", "outcomes", "score", "dimensions", "issues")
PICTURES = {f"charts/{name}{end}" for name in CHARTS for end in (".png", ".svg")}
PICTURES |= {f"wordcloud_{lang}{end}" for lang in LANGS for end in (".png", ".svg")}
PAGES = {"report.html", "report.md", "summary.csv", "tables.xlsx"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 24 tasks against four rivals, its report built in English."""
    folder = factory.run_of(tmp_path_factory.mktemp("report") / "run")
    build_report(folder, lang="en")
    return folder


class Outline(HTMLParser):
    """The tags of a page that are still open, its headings, and every attribute that may name an address."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.headings: list[int] = []
        self.handlers: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in ("meta", "link", "br", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> inside {self.open[-3:]}"
        self.open.pop()


def page_of(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def test_sentences_in_chinese_stand_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """No space between them, also where the second is there only now and then: 图中是最常见的 2 个。"""
    monkeypatch.setattr("analyze.report.page.MOST_ISSUES", 2)
    folder = factory.run_of(tmp_path / "run")
    build_pages(folder, lang="zh")
    shown = re.sub("<details.*?</details>", "", page_of(folder), flags=re.DOTALL)
    assert TEXTS["zh"]["issues_rest"].format(n=2) in shown
    assert not re.findall("。 +[^ \n<]+", shown)


def test_a_report_is_these_files_and_the_mapping_names_them(tmp_path: Path):
    made = build_report(factory.run_of(tmp_path / "run"), lang="en")
    assert {path.relative_to(tmp_path / "run").as_posix() for path in made.values()} == PICTURES | PAGES
    assert made["report"].name == "report.html"
    assert made["wordcloud_zh"].name == "wordcloud_zh.png"
    assert made["charts/outcomes"].name == "outcomes.png"
    assert all(path.stat().st_size for path in made.values())


def test_pictures_and_pages_can_be_built_apart(tmp_path: Path):
    folder = factory.run_of(tmp_path / "run", count=3)
    pictures, pages = build_pictures(folder, lang="zh"), build_pages(folder, lang="zh")
    assert len(pictures) == len(PICTURES)
    assert {path.name for path in pages.values()} == PAGES


@pytest.mark.parametrize("lang", LANGS)
def test_building_twice_gives_the_same_bytes(tmp_path: Path, lang: Lang):
    folder = factory.run_of(tmp_path / "run", count=6)
    first = {name: path.read_bytes() for name, path in build_report(folder, lang=lang).items()}
    second = {name: path.read_bytes() for name, path in build_report(folder, lang=lang).items()}
    assert first == second


def test_rows_in_another_order_give_the_same_bytes(tmp_path: Path):
    folder = factory.run_of(tmp_path / "run")
    first = {name: path.read_bytes() for name, path in build_report(folder, lang="en").items()}
    rows = (folder / "per_task.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "per_task.jsonl").write_text("".join(random.Random(3).sample(rows, len(rows))), encoding="utf-8")
    again = {name: path.read_bytes() for name, path in build_report(folder, lang="en").items()}
    assert [name for name, data in first.items() if again[name] != data] == []


def test_another_process_gives_the_same_bytes(tmp_path: Path):
    import subprocess
    import sys

    folder = factory.run_of(tmp_path / "run", count=4)
    here = {name: path.read_bytes() for name, path in build_report(folder, lang="zh").items()}
    code = (
        f"from pathlib import Path; from analyze.report import build_report as b; b(Path({str(folder)!r}), lang='zh')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONHASHSEED": "7"})
    assert {name: (folder / _file(name)).read_bytes() for name in here} == here


def _file(name: str) -> str:
    return {"report": "report.html", "summary": "summary.csv", "tables": "tables.xlsx"}.get(
        name, name if "." in name else f"{name}.png"
    )


def test_24_tasks_are_a_page_below_2_mb(run: Path):
    assert len(page_of(run).encode()) < 2_000_000


def test_long_code_is_still_a_page_below_2_mb(tmp_path: Path):
    draw = random.Random(5)
    tasks = [factory.task(number, draw, lines=2000) for number in range(24)]
    build_pages(factory.write_run(tmp_path / "run", tasks), lang="en")
    page = page_of(tmp_path / "run")
    assert len(page.encode()) < 2_000_000
    assert "more tasks are not opened here" in page or page.count('<details class="task">') == 24


def test_the_page_is_well_formed_and_its_headings_step_by_one(run: Path):
    outline = Outline(page_of(run))
    assert outline.open == []
    assert outline.headings[0] == 1 and outline.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(outline.headings, outline.headings[1:], strict=False))


def test_the_page_reaches_for_nothing_outside_itself(run: Path):
    page = page_of(run)
    outline = Outline(page)
    local = re.compile(r"#[\w-]+|data:,|[\w.]+\.(jsonl|json|csv|xlsx|md)|charts/")
    assert [address for address in outline.addresses if not local.fullmatch(address)] == []
    assert not outline.tags & {"script", "iframe", "object", "embed", "form", "img"}
    assert not re.search(r"@import|url\((?!data:)", page)


def test_every_link_inside_the_page_has_its_place(run: Path):
    page = page_of(run)
    places = set(re.findall(r'\bid="([^"]+)"', page))
    assert {address[1:] for address in Outline(page).addresses if address.startswith("#")} <= places


def test_every_table_has_a_caption_or_stands_in_a_block_that_names_it(run: Path):
    page = page_of(run)
    tables = re.findall(r'<table(?! class="named")[^>]*>\s*(<caption)?', page)
    assert tables and all(tables)


@pytest.mark.parametrize("lang", LANGS)
def test_a_report_speaks_one_language(tmp_path: Path, lang: Lang):
    other: Lang = "en" if lang == "zh" else "zh"
    build_pages(factory.run_of(tmp_path / "run", count=4), lang=lang)
    page = page_of(tmp_path / "run")
    assert f'<html lang="{TEXTS[lang]["html_lang"]}">' in page
    spoken = [text for key, text in TEXTS[other].items() if len(text) > 14 and "{" not in text and key != "html_lang"]
    assert [text for text in spoken if text in page] == []


def test_the_csv_has_a_row_per_rival_and_one_over_all(run: Path):
    rows = list(csv.DictReader((run / "summary.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert [row["author"] for row in rows] == [*sorted(factory.RIVALS), "*"]
    overall = rows[-1]
    outcomes = ("wins", "ties_true", "ties_weak", "ties_conflict", "losses", "unscored")
    assert sum(int(overall[name]) for name in outcomes) == int(overall["pairs"]) == 96
    assert 0 < float(overall["win_rate_low"]) < float(overall["win_rate"]) < float(overall["win_rate_high"]) < 1


@pytest.mark.parametrize("lang", LANGS)
def test_with_few_tasks_the_sign_test_has_its_exact_interval_everywhere(tmp_path: Path, lang: Lang):
    folder = factory.run_of(tmp_path / "run", count=8)
    build_pages(folder, lang=lang)
    t, page, text = TEXTS[lang], page_of(folder), (folder / "report.md").read_text(encoding="utf-8")
    assert t["score_ahead"] in page and t["score_ahead"] in text
    for row in csv.DictReader((folder / "summary.csv").read_text(encoding="utf-8-sig").splitlines()):
        share, low, high, n = (float(row[f"ahead{end}"]) for end in ("", "_low", "_high", "_n"))
        ahead = round(share * n)
        assert (low, high) == pytest.approx(clopper_pearson(ahead, int(n)), abs=1e-6)
        said = f"{ahead} {t['of']} {n:.0f}{t['colon']}{100 * low:.0f}–{100 * high:.0f}%"
        assert f'<span class="why">{said}</span>' in page and f"({said})" in text


def test_with_many_tasks_the_exact_interval_is_in_the_csv_alone(tmp_path: Path):
    folder = factory.run_of(tmp_path / "run", count=40)
    build_pages(folder, lang="en")
    *_, overall = csv.DictReader((folder / "summary.csv").read_text(encoding="utf-8-sig").splitlines())
    assert overall["ahead_low"] and TEXTS["en"]["score_ahead"] not in page_of(folder)


@pytest.mark.parametrize("lang", LANGS)
def test_what_order_length_and_comments_add_is_on_the_page_in_the_markdown_and_in_the_csv(tmp_path: Path, lang: Lang):
    folder = factory.run_of(tmp_path / "run", count=8)
    build_pages(folder, lang=lang)
    t, page, text = TEXTS[lang], page_of(folder), (folder / "report.md").read_text(encoding="utf-8")
    *rivals, overall = csv.DictReader((folder / "summary.csv").read_text(encoding="utf-8-sig").splitlines())
    for key, column in (("s_position", "position"), ("s_length", "length"), ("s_comments", "comments")):
        value = f"{float(overall[f'effect_{column}']):+.2f}".replace("-", "−")
        assert f'{t[key]}</th><td class="num"><b>{value}</b>' in page
        assert f"| {t[key]} | {value} | " in text
        assert {row[f"effect_{column}"] for row in rivals} == {""}


def test_differences_between_rivals_have_a_p_adjusted_for_their_number(run: Path):
    page = page_of(run)
    table = page[page.index("By how much the target scores higher") : page.index('id="dimensions"')]
    assert "by Holm for the number of pairs of rivals" in table
    assert re.search(r">p, adjusted</th>.*?<td class=\"num\">(&lt;)?0\.\d{3}</td>", table, re.DOTALL)


def test_a_demo_says_on_every_page_that_its_verdicts_are_noise(tmp_path: Path):
    folder = factory.run_of(tmp_path / "run", count=2, demo=True)
    build_pages(folder, lang="zh")
    assert TEXTS["zh"]["demo_title"] in page_of(folder)
    assert TEXTS["zh"]["demo_title"] in (folder / "report.md").read_text(encoding="utf-8")


def test_a_chart_of_a_demo_says_so_where_it_stands_alone(tmp_path: Path):
    folder = factory.run_of(tmp_path / "run", count=2, demo=True)
    build_pictures(folder, lang="en")
    chart = (folder / "charts" / "outcomes.svg").read_text(encoding="utf-8")
    assert "Wins, ties, losses · model-a against 4 rivals" in chart
    assert "Demo: these verdicts are noise" in chart


def test_a_measured_run_says_on_every_page_that_no_model_was_asked(tmp_path: Path):
    folder = factory.run_of(tmp_path / "run", count=2, engine="measured", model=None)
    build_pages(folder, lang="en")
    assert "No model was asked" in page_of(folder)
    assert "No model was asked" in (folder / "report.md").read_text(encoding="utf-8")


def test_a_measured_run_speaks_of_no_judge_s_words_errors_or_tokens(tmp_path: Path):
    folder = factory.run_of(tmp_path / "run", engine="measured", model=None)
    build_pages(folder, lang="en")
    page = page_of(folder)
    assert "What was measured, the most frequent first" in page
    assert [said for said in ("In the judge's words", "Corrected for its errors", "Tokens") if said in page] == []


def test_the_check_of_a_judge_that_was_not_asked_does_not_apply_on_the_page_nor_in_the_csv(tmp_path: Path):
    folder = factory.run_of(tmp_path / "run", count=2, engine="measured", model=None)
    build_pages(folder, lang="en")
    rows = list(csv.DictReader((folder / "summary.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert "Judge: does not apply" in page_of(folder)
    assert {row["judge_check"] for row in rows} == {"does_not_apply"}


@pytest.mark.parametrize("lang", LANGS)
def test_a_run_with_nothing_judged_has_pages_that_say_so_and_no_pictures(tmp_path: Path, lang: Lang):
    folder = factory.write_run(tmp_path / "run", [])
    made = build_report(folder, lang=lang)
    assert {path.name for path in made.values()} == PAGES
    assert TEXTS[lang]["answer_none"] in page_of(folder)
    assert TEXTS[lang]["cloud_empty"] in page_of(folder)


@pytest.mark.parametrize("lang", LANGS)
def test_one_task_against_one_rival_is_a_report(tmp_path: Path, lang: Lang):
    task = factory.task(0, random.Random(5))
    folder = factory.write_run(tmp_path / "run", [task | {"rivals": task["rivals"][:1]}])
    build_report(folder, lang=lang)
    assert TEXTS[lang]["check_unknown"] in page_of(folder)


@pytest.mark.parametrize("lang", LANGS)
def test_a_run_whose_every_judgement_failed_is_a_report_without_results(tmp_path: Path, lang: Lang):
    tasks = [factory.task(number, random.Random(5)) for number in range(2)]
    for task in tasks:
        for rival in task["rivals"]:
            rival |= {"outcome": "unscored", "tie_kind": None, "score": None, "dimensions": {}}
            rival |= {"confirmed": [], "contradicted": {}}
            rival["cells"] = [cell | {"status": "failed", "score": None, "digit": None} for cell in rival["cells"]]
    folder = factory.write_run(tmp_path / "run", tasks)
    build_report(folder, lang=lang)
    assert TEXTS[lang]["answer_none"] in page_of(folder)


def test_a_run_from_before_the_judge_was_probed_is_read(tmp_path: Path):
    tasks = [factory.task(number, random.Random(5)) for number in range(2)]
    for task in tasks:
        del task["audit"]
        for rival in task["rivals"]:
            del rival["confirmed"], rival["contradicted"]
    folder = factory.write_run(tmp_path / "run", tasks)
    made = build_report(folder, lang="en")
    assert "charts/check" in made and "charts/probes" not in made
    assert "No verdict could be held against a measured fact." in page_of(folder)


def test_a_failed_probe_is_listed_with_what_it_was_for(tmp_path: Path):
    folder = factory.run_of(tmp_path / "run", count=1)
    row = {"id": "x", "task_id": "task-00", "rival": "model-b", "order": "rival_first", "probe": "injected"}
    (folder / "failed.jsonl").write_bytes(
        orjson.dumps({**row, "kind": "timeout", "message": "late", "attempts": 3}) + b"\n"
    )
    build_pages(folder, lang="en")
    assert 'Rival shown first, as A<span class="why">Command to the judge</span>' in page_of(folder)


def test_a_verdict_against_the_facts_says_so_beside_its_pair(run: Path):
    page = page_of(run)
    assert re.search(
        r"facts against the verdict on [\w ]+ \(0.25\): code lines 12 of the target, 31 of the rival", page
    )


def test_a_picture_that_cannot_be_made_again_does_not_stay_from_before(tmp_path: Path):
    folder = factory.run_of(tmp_path / "run", count=3)
    build_pictures(folder, lang="en")
    factory.write_run(folder, [])
    assert build_pictures(folder, lang="en") == {}
    assert [*folder.glob("wordcloud*"), *folder.glob("charts/*")] == []


def test_a_manifest_with_nothing_in_it_is_shown_with_dashes(tmp_path: Path):
    folder = factory.write_run(tmp_path / "run", [factory.task(0, random.Random(1))], run={})
    build_pages(folder, lang="en")
    assert "<dt>Model</dt><dd>—</dd>" in page_of(folder)


def test_without_a_font_for_chinese_the_report_says_the_cure_and_has_the_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(fonts, "_packaged_font", lambda: None)
    monkeypatch.setattr(fonts, "_system_fonts", list)
    folder = factory.run_of(tmp_path / "run", count=3)
    made = build_report(folder, lang="zh")
    assert not [path for path in made.values() if path.suffix == ".png"]
    assert "apt install fonts-noto-cjk" in page_of(folder)
    assert "结果错误" in page_of(folder)
    assert "apt install fonts-noto-cjk" in caplog.text


def test_a_font_that_is_not_there_is_named_before_anything_is_written(tmp_path: Path):
    folder = factory.run_of(tmp_path / "run", count=1)
    with pytest.raises(UsageError, match=r"/no/font\.ttf"):
        build_report(folder, lang="en", font_path="/no/font.ttf")
    assert not (folder / "report.html").exists()


def test_a_folder_without_a_run_is_unusable_input(tmp_path: Path):
    with pytest.raises(InputError, match="holds no run"):
        build_report(tmp_path, lang="en")


def test_a_broken_record_is_named_by_file_and_line(tmp_path: Path):
    folder = factory.run_of(tmp_path / "run", count=2)
    with open(folder / "per_task.jsonl", "a", encoding="utf-8") as file:
        file.write('{"task_id": "x')
    with pytest.raises(InputError, match=r"per_task\.jsonl:3: not JSON"):
        build_report(folder, lang="en")


def test_what_does_not_fit_on_the_page_is_named_with_its_file(tmp_path: Path):
    draw = random.Random(4)
    one = factory.task(0, draw, lines=6)
    tasks = [one | {"task_id": f"task-{number:04d}", "score": number / 1000} for number in range(260)]
    build_pages(factory.write_run(tmp_path / "run", tasks), lang="en")
    page = page_of(tmp_path / "run")
    opened = page.count('<details class="task">')
    assert 20 < opened <= 200
    assert f"{260 - opened} more tasks are not opened here" in page
    assert '<span class="name">task-0259</span>' in page
    assert page.index("task-0000") < page.index("task-0001")


def test_failures_and_rejects_are_listed(run: Path):
    page = page_of(run)
    failed = [orjson.loads(line) for line in (run / "failed.jsonl").read_bytes().splitlines()]
    assert failed and f"By kind: answer cut off {len(failed)}." in page
    assert "no key `code` in rivals[0]" in page


def test_both_orders_and_their_reasons_are_on_the_page(run: Path):
    page = page_of(run)
    assert page.count("Target shown first") >= 96
    assert page.count("Rival shown first") >= 96


def test_every_page_has_the_time_and_the_idle_share_of_every_server(tmp_path: Path):
    folder = factory.run_of(tmp_path / "run", count=2)
    build_pages(folder, lang="en")
    told = [("45", "24%", "200.0", "4%"), ("48", "26%", "200.0", "18%")]
    rows = [f">{'</td><td class=num>'.join(row)}</td>" for row in told]
    page = page_of(folder).replace('"num"', "num")
    assert [row for row in rows if row not in page] == []
    lines = (folder / "report.md").read_text(encoding="utf-8")
    assert [row for row in told if f"| {' | '.join(row)} |" not in lines] == []


def test_charts_are_svg_that_other_programs_can_read(run: Path):
    for path in sorted((run / "charts").glob("*.svg")):
        root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
        assert root.get("aria-label")
        assert "var(" not in path.read_text(encoding="utf-8")


def _pngs(folder: Path) -> Iterator[Path]:
    yield from folder.glob("charts/*.png")
    yield from folder.glob("wordcloud_*.png")


def test_pictures_are_twice_their_natural_size(run: Path):
    from PIL import Image

    sizes = {path.stem: Image.open(path).size for path in _pngs(run)}
    assert sizes["wordcloud_zh"][0] == 1520
    assert sizes["outcomes"][0] == 2 * (800 + 2 * 48)


def test_when_a_report_is_built_none_of_its_records_is_left_in_memory(tmp_path: Path) -> None:
    """In a process of its own: what an import leaves behind, it leaves once."""
    code = (
        "import gc, pathlib, sys; gc.disable(); from analyze.report import build_report\n"
        "build_report(pathlib.Path(sys.argv[1]), lang='en')\n"
        "print(sum(type(one) is dict and type(one.get('rivals')) is list for one in gc.get_objects()))"
    )
    folder = factory.run_of(tmp_path / "run", 2)
    done = subprocess.run([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.strip() == "0"
