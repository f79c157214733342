"""What classification costs beside a plain batch: the same requests by `analyze.classify` and by `analyze.batch`."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from analyze.classify.labels import read_labels
from analyze.classify.prompts import default_prompt, sampling
from analyze.classify.records import Maker
from analyze.records import to_json
from benchmarks import command
from benchmarks.command import ON_DISK
from benchmarks.makespan import GPU
from benchmarks.results import Section, Verdict
from benchmarks.rig import OURS, Server, running, spread, table

TEXTS = 20_000
SERVERS = 4
ROUNDS = 3
MOST = 1.05
LABELS = "yes,no"  # the simulated server says "yes" over and over
MAX_TOKENS = 16


def classification() -> Section:
    """Wall time on servers that take their time, and CPU a text; the two take turns."""
    walls: dict[str, list[float]] = {"classify": [], "batch": []}
    costs: dict[str, list[float]] = {"classify": [], "batch": []}
    with tempfile.TemporaryDirectory(dir=ON_DISK) as folder, running([Server(GPU)] * SERVERS) as fleet:
        texts, requests = _inputs(Path(folder))
        servers = [word for url in fleet.urls for word in ("--base-url", url)]
        for number in range(ROUNDS):
            outputs = {name: Path(folder, f"{name}-{number}.jsonl") for name in walls}
            asked = ["--labels", LABELS, "--lenient", "--max-tokens", str(MAX_TOKENS), *servers]
            classify = [OURS, "-m", "analyze.classify", "-i", str(texts), "-o", str(outputs["classify"]), *asked]
            commands = {"classify": classify, "batch": command.batch(requests, outputs["batch"], fleet.urls)}
            for name, typed in commands.items():
                ran = command.run(typed)
                walls[name].append(ran.wall_s)
                costs[name].append(1000 * ran.cpu_s / TEXTS)
    ratios = [ours / plain for ours, plain in zip(walls["classify"], walls["batch"], strict=True)]
    head = ["job", "wall time, s", "CPU ms a text: whole process"]
    rows = [[f"analyze.{name}", spread(walls[name], ".1f"), spread(costs[name], ".3f")] for name in walls]
    text = f"""{SERVERS} simulated servers with 64 slots each, as in the benchmarks of makespan; {TEXTS:,} texts with
the packaged kind of prompt, {MAX_TOKENS} tokens a reply; {ROUNDS} rounds, the two taking turns, each with a process of
its own: median (least – most). `analyze.batch` is given the very bodies that `analyze.classify` sends. Its time has in
it the statistics and the summary page at the end.

{table(head, rows)}"""
    what, met = "`analyze.classify` to `analyze.batch`, wall time, the same requests", statistics.median(ratios) <= MOST
    return Section("Classification beside a plain batch", text, [Verdict(what, f"≤ {MOST}x", spread(ratios), met)])


def _inputs(folder: Path) -> tuple[Path, Path]:
    """Write the texts, and the requests that they become."""
    labels = read_labels(LABELS)
    maker = Maker(default_prompt(labels, "en"), sampling(0.0, MAX_TOKENS))
    said = [f"text {number}: is this a question about medicine, or about the moon?" for number in range(TEXTS)]
    texts, requests = folder / "texts.jsonl", folder / "requests.jsonl"
    texts.write_bytes(b"".join(to_json({"id": str(number), "query": one}) + b"\n" for number, one in enumerate(said)))
    with open(requests, "wb") as file:
        for number, one in enumerate(said):
            body = maker.request({"id": str(number), "query": one}, number + 1)["body"]
            row = {"custom_id": str(number), "method": "POST", "url": "/v1/chat/completions", "body": body}
            file.write(to_json(row) + b"\n")
    return texts, requests
