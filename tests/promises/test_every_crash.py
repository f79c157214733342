"""Cut off at any effect on its files, by a kill or by the power, a run continues as if nothing had been.

Each scenario is run once and its effects recorded (`crashing_files`). Then, from each state in which a crash may have
left the files, the same command is given again; what it ends in is compared with the uninterrupted run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.fake_vllm import FakeVLLM, chat_reply
from tests.promises.conftest import Row, as_new, asked, name_of, new_folder, question, row, strictly, text_of, write
from tests.promises.crashing_files import Crash, Disk, Files, crashes, files_in, put_files, read_trace
from tests.promises.warm import Ended, Warm

IN_FLIGHT = 2
ANSWERS, FAILURES, MANIFEST = "answers.jsonl", "answers.jsonl.failed.jsonl", "answers.jsonl.run.json"
ROWS = [row(number) for number in range(1, 9)]
FOR_A_SYNC_S = 0.6
"""With so much time between records, one is synced before the run is over."""

REFUSED = {"question 4": 400, "question 6": 400}


@dataclass(frozen=True)
class Scenario:
    """A command over an output that an earlier scenario has left, at servers that refuse some rows."""

    name: str
    rows: Sequence[object]
    flags: tuple[str, ...] = ()
    after: str = ""  # the scenario that the output comes from; none: there is no output yet
    damage: Callable[[Files], Files] = lambda files: files
    is_after_crash: bool = False  # and the output is one that a crash of that scenario has left
    refused: dict[str, int] = field(default_factory=dict)
    delay_s: float = 0.0
    blanks: bool = False
    module: str = "analyze.batch"


def torn(files: Files) -> Files:
    """Cut both journals in the middle of their last lines."""
    return {name: data[:-100] if name in (ANSWERS, FAILURES) else data for name, data in files.items()}


def passing(files: Files) -> Files:
    """Make the failures some that pass."""
    return {**files, FAILURES: files[FAILURES].replace(b'"code":"invalid"', b'"code":"server"')}


FIRST = Scenario(
    "a first run",
    [*ROWS, "not a request"],
    ("--skip-bad",),
    refused=REFUSED,
    delay_s=FOR_A_SYNC_S,
)
SCENARIOS = [
    FIRST,
    Scenario("after a torn tail", FIRST.rows, FIRST.flags, FIRST.name, torn, REFUSED),
    Scenario("after a crash", FIRST.rows, FIRST.flags, FIRST.name, is_after_crash=True, refused=REFUSED),
    Scenario("after failures that pass", ROWS, (), FIRST.name, passing),
    Scenario("after failures that pass, one of them torn", ROWS, (), FIRST.name, lambda files: torn(passing(files))),
    Scenario("--retry-failed", [*ROWS, row(9)], ("--retry-failed",), FIRST.name),
    Scenario(
        "--update",
        [row(1, "another question 1"), row(2), row(3, temperature=0.5), *ROWS[3:], row(9)],
        ("--update",),
        FIRST.name,
        refused=REFUSED,
    ),
    Scenario("--ordered", ROWS, ("--ordered", "--retry-failed"), FIRST.name),
    Scenario("ask_many", ROWS, refused=REFUSED, delay_s=FOR_A_SYNC_S, module="tests.promises.asks"),
    Scenario("blocks written in any order", ROWS, refused=REFUSED, delay_s=0.2, blanks=True),
]


class Workplace:
    """A folder and two servers, for one run at a time. The paths in it are relative, so that runs in two
    workplaces leave the same files."""

    def __init__(self, place: Path, servers: Sequence[FakeVLLM], warm: Warm) -> None:
        self.place, self.servers, self.warm = place, servers, warm
        self.output, self.streams = place / "output", place / "streams"
        for folder in (place, self.output, self.streams):
            folder.mkdir()
        self.seen_at: list[tuple[float, str]] = []

    def run(self, scenario: Scenario, *, trace: Path | None = None) -> Ended:
        """Run the scenario's command on what is in the output; `seen_at` says when the servers were asked what."""
        write(self.place / "requests.jsonl", scenario.rows)
        self.seen_at = []
        for server in self.servers:
            as_new(server)
            server.delay_s = scenario.delay_s if trace is not None else 0.0
            server.refuse = self._refusal(scenario)
            server.handler = _answer
        urls = [server.url for server in self.servers]
        if scenario.module == "analyze.batch":
            flags = [*scenario.flags, "--in-flight", str(IN_FLIGHT)]
            argv = ["-i", "requests.jsonl", "-o", f"output/{ANSWERS}", *flags]
            argv += [flag for url in urls for flag in ("--base-url", url)]
        else:
            argv = [f"output/{ANSWERS}", "requests.jsonl", *urls]
        first = [] if trace is None else ["tests.promises.crashing_files:record", str(self.output), str(trace)]
        options = {"folder": self.place, "streams": self.streams, "env": {"ANALYZE_LANG": "en"}}
        return self.warm.start(argv, first=first, module=scenario.module, **options).wait()

    def _refusal(self, scenario: Scenario) -> Callable[[Row], int | None]:
        def refuse(body: Row) -> int | None:
            self.seen_at.append((time.monotonic(), question(body)))
            return scenario.refused.get(question(body))

        return refuse


async def _answer(request: web.Request, body: Row) -> web.Response:
    return web.json_response(chat_reply(f"answer to {question(body)}, at temperature {body.get('temperature')}"))


@dataclass
class Run:
    """An uninterrupted run: what it began with, did and left."""

    scenario: Scenario
    start: Files
    ended: Ended
    files: Files
    trace: Any
    seen_at: list[tuple[float, str]]

    @property
    def asked_of(self) -> dict[str, str]:
        """What each row asks, by its SHA-256."""
        return {name_of(line): line["asked"] for line in _lines(self.files)}


@dataclass
class Continued:
    """What became of a crash after the same command was given again."""

    crash: Crash
    ended: Ended
    files: Files
    asked: list[str]


def _lines(files: Files, names: Sequence[str] = (ANSWERS, FAILURES)) -> list[Row]:
    """Return the whole lines of the journals; those that a power cut has left zeros in are none."""
    whole = (line for name in names for line in files.get(name, b"").split(b"\n")[:-1])
    return [strictly(line) for line in whole if b"\0" not in line]


def _outcomes(files: Files) -> dict[str, list[object]]:
    """Return what each row has come to, a line each."""
    ends: dict[str, list[object]] = {}
    for line in _lines(files):
        end = text_of(line) if line["error"] is None else line["error"]["code"]
        ends.setdefault(name_of(line), []).append((line["asked"], end))
    return ends


def _to_ask(run: Run, files: Files) -> set[str]:
    """Return the questions of the rows that these files hold no final record of."""
    final = set()
    for line in _lines(files):
        answered = line["error"] is None
        holds = answered or (line["error"]["code"] != "server" and "--retry-failed" not in run.scenario.flags)
        if holds and run.asked_of.get(name_of(line)) == line["asked"]:
            final.add(name_of(line))
    rows = [row for row in run.scenario.rows if isinstance(row, dict)]
    return {question(row["body"]) for row in rows if row["custom_id"] not in final}


class Story:
    """A scenario, its uninterrupted run, and what became of all its crashes."""

    def __init__(self, run: Run, continued: list[Continued]) -> None:
        self.run, self.continued = run, continued

    def never(self, problem: Callable[[Continued], object]) -> None:
        """Fail with the first few crashes after which there is a problem, and what it is."""
        found = [(end, said) for end in self.continued if (said := problem(end))]
        shown = [
            f"{end.crash}\n    {said}\n    exit {end.ended.code} {end.ended.err[-600:]}" for end, said in found[:3]
        ]
        assert not found, f"{len(found)} of {len(self.continued)} crashes:\n" + "\n".join(shown)


@pytest.fixture(scope="module")
def workplaces(shared_servers: list[FakeVLLM], warm: Warm) -> Iterator[list[Workplace]]:
    with new_folder() as places:
        yield [Workplace(Path(places) / str(n), shared_servers[2 * n : 2 * n + 2], warm) for n in range(2)]


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    return {}


def _uninterrupted(scenario: Scenario, place: Workplace, runs: dict[str, Run]) -> Run:
    if scenario.name not in runs:
        before = next((s for s in SCENARIOS if s.name == scenario.after), None)
        start = _left_behind(scenario, _uninterrupted(before, place, runs)) if before else {}
        put_files(place.output, start)
        trace = place.place / "trace"
        trace.unlink(missing_ok=True)
        ended = place.run(scenario, trace=trace)
        runs[scenario.name] = Run(scenario, start, ended, files_in(place.output), read_trace(trace), place.seen_at)
    return runs[scenario.name]


def _left_behind(scenario: Scenario, before: Run) -> Files:
    if not scenario.is_after_crash:
        return scenario.damage(before.files)
    littered = max(crashes(before.start, before.trace), key=lambda crash: (len(crash.files), crash.effect))
    return littered.files


@pytest.fixture(scope="module", params=SCENARIOS, ids=lambda scenario: scenario.name)
def story(request: pytest.FixtureRequest, workplaces: list[Workplace], runs: dict[str, Run]) -> Story:
    run = _uninterrupted(request.param, workplaces[0], runs)
    states = list(crashes(run.start, run.trace, blanks=run.scenario.blanks))

    def go_on(place: Workplace, mine: list[Crash]) -> list[Continued]:
        found = []
        for crash in mine:
            put_files(place.output, crash.files)
            ended = place.run(run.scenario)
            found.append(Continued(crash, ended, files_in(place.output), asked(place.servers)))
        return found

    with ThreadPoolExecutor(len(workplaces)) as pool:
        shares = [states[n :: len(workplaces)] for n in range(len(workplaces))]
        return Story(run, [end for share in pool.map(go_on, workplaces, shares) for end in share])


def test_the_layer_has_seen_all_that_was_done(story: Story) -> None:
    disk = Disk(story.run.start)
    for effect in story.run.trace:
        disk.do(effect)
    assert disk.now() == story.run.files
    assert story.run.ended.code in (0, 1), story.run.ended.err
    assert len(story.continued) > 10


def test_the_answers_are_those_of_an_uninterrupted_run_each_row_once(story: Story) -> None:
    expected = _outcomes(story.run.files)
    assert all(len(ends) == 1 for ends in expected.values())
    story.never(lambda end: (found := _outcomes(end.files)) != expected and f"rows end as {found}")


def test_it_ends_as_an_uninterrupted_run_does_and_without_an_exception(story: Story) -> None:
    code = story.run.ended.code
    story.never(lambda end: end.ended.code != code or "Traceback" in end.ended.err)


def test_asked_is_exactly_what_no_record_holds(story: Story) -> None:
    def problem(end: Continued) -> object:
        wanted = sorted(_to_ask(story.run, end.crash.files))
        return sorted(end.asked) != wanted and f"left were {wanted}, asked {sorted(end.asked)}"

    story.never(problem)


def test_a_kill_loses_nothing_but_what_was_in_flight(story: Story) -> None:
    def problem(end: Continued) -> object:
        if end.crash.is_power_cut:
            return None
        out = {text for at, text in story.run.seen_at if at < end.crash.at}
        left = _to_ask(story.run, end.crash.files) & out
        return len(left) > IN_FLIGHT and f"asked before the crash, and not recorded: {left}"

    story.never(problem)


def test_a_power_cut_takes_nothing_that_was_synced(story: Story) -> None:
    disk = Disk(story.run.start)
    written: dict[int, set[str]] = {}
    synced: set[str] = set()
    for effect in story.run.trace:
        disk.do(effect)
        if effect.data.startswith(b'{"id":"batch_req_'):
            lines = [strictly(line) for line in effect.data.splitlines()]
            written.setdefault(effect.file, set()).update(name_of(line) for line in lines)
        if effect.kind == "sync":
            synced |= written.get(effect.file, set())
        for how, files in disk.after_power_cut():
            lost = synced - set(_outcomes(files))
            assert not lost, f"after {effect}: {how}: {sorted(lost)} lost, though synced"


def test_when_the_manifest_says_finished_everything_is_safe(story: Story) -> None:
    disk = Disk(story.run.start)
    everything = _outcomes(story.run.files)
    for effect in story.run.trace:
        disk.do(effect)
        for how, files in disk.after_power_cut():
            if strictly(files.get(MANIFEST, b"{}")).get("finished") and MANIFEST not in story.run.start:
                assert _outcomes(files) == everything, f"after {effect}: {how}"


def test_a_manifest_and_rejects_are_whole_at_any_instant(story: Story) -> None:
    def problem(end: Continued) -> object:
        for name, data in end.crash.files.items():
            if name.endswith((".run.json", ".rejects.jsonl")) and not data.endswith(b"\n"):
                return f"{name} holds {data!r}"
        strictly(end.crash.files.get(MANIFEST, b"{}"))
        return None

    story.never(problem)


def test_no_line_but_a_torn_last_one_is_ever_broken(story: Story) -> None:
    for end in story.continued:
        _lines(end.crash.files)
        assert b"\0" not in b"".join(end.files.values()), f"{end.crash}: a damaged line is still there"


def test_nothing_is_left_beside_what_an_uninterrupted_run_leaves(story: Story) -> None:
    expected = set(story.run.files)
    story.never(lambda end: (found := set(end.files)) != expected and f"files: {sorted(found ^ expected)}")
