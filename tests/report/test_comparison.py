"""From two run folders to their comparison, as pages and on the console."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from analyze.errors import InputError
from analyze.lang import LANGS, Lang
from analyze.report import build_pages, compare_runs
from analyze.report.numbers import p_value
from analyze.report.taskview import anchor
from analyze.report.texts import TEXTS
from tests.report import factory
from tests.report.test_report import Outline

ROOT = Path(__file__).parents[2]


def later(tasks: list[dict[str, Any]], seed: int = 9) -> list[dict[str, Any]]:
    """Return the same tasks and rivals with another target, judged anew."""
    made = []
    for number, old in enumerate(tasks):
        new = factory.task(number, random.Random(seed + number)) | {"task_id": old["task_id"]}
        new["target"]["author"] = "model-a-2"
        for rival, same in zip(new["rivals"], old["rivals"], strict=True):
            rival["code"] = same["code"]
        made.append(new)
    return made


def two_runs(folder: Path, **changes: Any) -> tuple[Path, Path]:
    """Return the folders of the run now, whose manifest has `changes`, and of the run before."""
    tasks = [factory.task(number, random.Random(number)) for number in range(8)]
    before = factory.write_run(folder / "before", tasks)
    return factory.write_run(folder / "now", later(tasks), run=factory.manifest(**changes)), before


def said(folder: Path) -> str:
    return (folder / "compare.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("lang", LANGS)
def test_a_comparison_is_a_page_and_its_markdown_beside_the_run(tmp_path: Path, lang: Lang):
    now, before = two_runs(tmp_path)
    compared = compare_runs(now, before, lang=lang)
    assert sorted(compared.paths.values()) == [now / "compare.html", now / "compare.md"]
    assert not (before / "compare.html").exists()
    outline = Outline(said(now))
    assert outline.open == [] and outline.headings.count(1) == 1
    assert f'<html lang="{TEXTS[lang]["html_lang"]}">' in said(now)
    other: Lang = "en" if lang == "zh" else "zh"
    spoken = [text for key, text in TEXTS[other].items() if len(text) > 14 and "{" not in text and key != "html_lang"]
    assert [text for text in spoken if text in said(now)] == []


def test_comparing_twice_gives_the_same_bytes(tmp_path: Path):
    now, before = two_runs(tmp_path)
    first = [path.read_bytes() for path in compare_runs(now, before, lang="zh").paths.values()]
    assert [path.read_bytes() for path in compare_runs(now, before, lang="zh").paths.values()] == first


def test_a_dot_is_filled_where_the_table_names_a_side(tmp_path: Path):
    now = factory.run_of(tmp_path / "now")
    page = compare_runs(now, factory.run_of(tmp_path / "before", seed=4), lang="en").paths["compare"].read_text()
    shown, filled = page.count('s-is-better"'), len(re.findall('<circle class="f-win"', page))
    assert shown > 0 and filled == 2 * shown, "each chart is drawn twice, wide and narrow"


def test_tasks_that_changed_lead_to_both_reports(tmp_path: Path):
    now, before = two_runs(tmp_path)
    for folder in (now, before):
        build_pages(folder, lang="en")
    compare_runs(now, before, lang="en")
    links = [address for address in Outline(said(now)).addresses if "#task-" in address]
    assert links and {link.split("#")[0] for link in links} == {"report.html", "../before/report.html"}
    assert {link.split("#")[1] for link in links} <= {anchor(f"task-{number:02d}") for number in range(8)}


def test_without_reports_there_are_no_links_to_them(tmp_path: Path):
    now, before = two_runs(tmp_path)
    compare_runs(now, before, lang="en")
    assert "report.html" not in said(now)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"model": "another"}, "Judging model"),
        ({"engine": "measured", "model": None}, "Engine, Judging model"),
        ({"judge_lang": "zh"}, "Language of the judge"),
        ({"asked": factory.manifest()["asked"] | {"prompt": "0" * 64}}, r"Prompts \(SHA-256\)"),
        ({"asked": factory.manifest()["asked"] | {"schema": "0" * 64}}, r"Schema \(SHA-256\)"),
        ({"asked": factory.manifest()["asked"] | {"sampling": {"temperature": 1}}}, "Sampling"),
    ],
)
def test_another_judge_is_said_before_any_number_and_on_the_console(tmp_path: Path, changes: dict[str, Any], what: str):
    now, before = two_runs(tmp_path, **changes)
    sentence = compare_runs(now, before, lang="en").sentence
    assert re.search(rf"Not the same judge\.</strong> The two runs differ in {what}\.", said(now).split("<main>")[0])
    assert "⚠ Not the same judge." in sentence


def test_the_same_judge_is_not_said_to_be_another(tmp_path: Path):
    now, before = two_runs(tmp_path)
    assert "Not the same judge" not in compare_runs(now, before, lang="en").sentence


def test_of_a_demo_it_is_said_that_verdicts_are_noise(tmp_path: Path):
    now, before = two_runs(tmp_path, demo=True)
    assert "⚠ Now: Demo: these verdicts are noise." in compare_runs(now, before, lang="en").sentence


def test_where_the_target_is_the_same_the_page_says_that_it_is_the_judge(tmp_path: Path):
    now, before = two_runs(tmp_path)
    tasks = [orjson.loads(line) for line in (before / "per_task.jsonl").read_bytes().splitlines()]
    again = [new | {"target": old["target"]} for old, new in zip(tasks, later(tasks), strict=True)]
    factory.write_run(now, again)
    compare_runs(now, before, lang="en")
    assert "On 8 of 8 common tasks both runs judged the same code of the target" in said(now)
    assert "comparisons both solutions are the same to the character in both runs" in said(now)


def test_rivals_that_are_not_the_same_are_counted(tmp_path: Path):
    now, before = two_runs(tmp_path)
    factory.write_run(now, [factory.task(number, random.Random(90 + number)) for number in range(8)])
    compare_runs(now, before, lang="en")
    assert re.search(r"In \d+ of 32 common pairs the rival&#39;s code is another one", said(now))


def test_tasks_of_one_run_alone_are_counted_and_named(tmp_path: Path):
    now, before = two_runs(tmp_path)
    with open(before / "per_task.jsonl", "ab") as file:
        file.write(orjson.dumps(factory.task(77, random.Random(1))) + b"\n")
    compare_runs(now, before, lang="en")
    assert re.search(r'Tasks only in the run before <span class="soft">1</span></h3>\s*.*task-77', said(now))


def test_targets_of_one_name_are_told_apart_by_their_folders(tmp_path: Path):
    now, before = two_runs(tmp_path)
    tasks = [factory.task(number, random.Random(50 + number)) for number in range(8)]
    factory.write_run(now, tasks)
    assert re.search(
        r"model-a \((now|before)\).*model-a \((now|before)\)", compare_runs(now, before, lang="en").sentence
    )


def test_the_same_run_twice_is_wrong_use_a_copy_too(tmp_path: Path):
    now, before = two_runs(tmp_path)
    for other in (now, now / ".." / "now"):
        with pytest.raises(InputError, match="the same run is given twice"):
            compare_runs(now, other, lang="en")
    (before / "per_task.jsonl").write_bytes((now / "per_task.jsonl").read_bytes())
    with pytest.raises(InputError, match="the same run is given twice"):
        compare_runs(now, before, lang="en")


def test_runs_without_a_common_task_or_rival_cannot_be_compared(tmp_path: Path):
    now, before = two_runs(tmp_path)
    tasks = [orjson.loads(line) for line in (now / "per_task.jsonl").read_bytes().splitlines()]
    others: dict[str, list[dict[str, Any]]] = {
        "no common task_id": [task | {"task_id": f"x{task['task_id']}", "audit": []} for task in tasks],
        "prompts that differ": [task | {"prompt": "another"} for task in tasks],
        "no rival in common": [
            task | {"audit": [], "rivals": [rival | {"author": rival["author"] + "x"} for rival in task["rivals"]]}
            for task in tasks
        ],
    }
    for message, changed in others.items():
        factory.write_run(now, changed)
        with pytest.raises(InputError, match=message) as raised:
            compare_runs(now, before, lang="en")
        assert raised.value.cure
    assert not (now / "compare.html").exists()


def test_on_the_console_one_sentence_and_two_files(tmp_path: Path):
    now, before = two_runs(tmp_path)
    command = [sys.executable, "-m", "analyze", "report", str(now), "--compare", str(before), "--lang", "en"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert lines[1:] == [str(now / "compare.html"), str(now / "compare.md")]
    assert re.search(
        r"on 8 common tasks its graded score goes from 0\.\d\d to 0\.\d\d: [+−]0\.\d\d, 95% interval", lines[0]
    )
    done = subprocess.run([*command[:-3], str(tmp_path), "--lang", "en"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert "no pipeline run has finished here" in done.stderr


def test_a_p_value_is_told_within_a_sentence_as_people_write_it():
    assert [p_value(value) for value in (0.0301, 0.0001, None)] == [
        "p\u00a0=\u00a00.030",
        "p\u00a0<\u00a00.001",
        "p\u00a0=\u00a0—",
    ]
