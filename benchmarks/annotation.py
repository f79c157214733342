"""What it costs to have images ready: beside bare Pillow, and whether a request ever waits for one.

Photographs of 12 megapixels, made here: noise over a gradient, which compresses as poorly as foliage does.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

from aiohttp import web

from analyze.annotate.images import QUALITY, Prepared, Spec
from analyze.annotate.pool import Pool
from analyze.annotate.sizing import DEFAULT_MAX_PIXELS, sent_size
from benchmarks import command
from benchmarks.command import ON_DISK
from benchmarks.results import Section, Verdict
from benchmarks.rig import OURS, spread, table

SIZE = (4000, 3000)
FILES = 16
ROUNDS, IMAGES = 5, 64
LEAST = 0.9

IN_FLIGHT = 64
ROWS = 320
REPLY_S = 8.0
"""64 requests that take so long are 8 images a second: a 32B model on two cards gives fewer."""

FULL_SHARE = 0.95
FACTOR = 28
REPLY = json.dumps({"rationale": "", "objects": [{"name": "cat", "bbox": [1, 2, 3, 4]}]})


def annotation() -> Section:
    """Images a second, ours and bare, taking turns; then a run over a server that tells how many requests it has."""
    with tempfile.TemporaryDirectory(dir=ON_DISK) as folder:
        paths = _photographs(Path(folder))
        workers = len(os.sched_getaffinity(0))
        rates = asyncio.run(_rates(folder, [path.name for path in paths], workers))
        full, mean, peak = _in_flight(Path(folder), [path.name for path in paths])
        megabytes = statistics.mean(path.stat().st_size for path in paths) / 1e6
    ratios = [ours / bare for ours, bare in zip(rates["ours"], rates["bare"], strict=True)]
    head = ["who", "images a second", "a core"]
    names = {"bare": "Pillow: draft decode, resize, encode", "ours": "`analyze annotate`: ready to be sent"}
    rows = [
        [names[who], spread(rates[who], ".1f"), spread([rate / workers for rate in rates[who]], ".1f")] for who in names
    ]
    sent = sent_size(*SIZE, factor=FACTOR, max_pixels=DEFAULT_MAX_PIXELS)
    text = f"""{FILES} photographs of {SIZE[0]} x {SIZE[1]} pixels, {megabytes:.1f} MB each, to {sent[0]} x {sent[1]} as
JPEG; {workers} processes; {ROUNDS} rounds of {IMAGES}, the two taking turns: median (least – most). Ours has in it the
check that a path stays below its root, a SHA-256 of the file, its EXIF orientation, base64, and the way of the result
to the process that asks.

{table(head, rows)}

`analyze annotate --max-concurrency {IN_FLIGHT}` over {ROWS} rows, with a server that takes {REPLY_S:g} s a request,
from the first time that {IN_FLIGHT} were out until the last was sent: {full:.1%} of the time all {IN_FLIGHT} were out,
in the mean {mean:.1f}. The process that asks and its image workers took {peak / 1e6:.0f} MB at most."""
    return Section(
        "Images for annotation",
        text,
        [
            Verdict(
                "images ready to be sent, to bare Pillow",
                f"≥ {LEAST}x",
                spread(ratios),
                statistics.median(ratios) >= LEAST,
            ),
            Verdict(
                f"{IN_FLIGHT} requests out, share of the time", f"≥ {FULL_SHARE:.0%}", f"{full:.1%}", full >= FULL_SHARE
            ),
        ],
    )


def _photographs(folder: Path) -> list[Path]:
    from PIL import Image

    base = Image.linear_gradient("L").resize(SIZE)
    paths = []
    for number in range(FILES):
        noise = [Image.effect_noise((SIZE[0] // 2, SIZE[1] // 2), 40 + number).resize(SIZE) for _ in range(3)]
        picture = Image.merge("RGB", [Image.blend(base, channel, 0.5) for channel in noise])
        paths.append(folder / f"{number:02}.jpg")
        picture.save(paths[-1], quality=92)
    return paths


def bare(path: str) -> int:
    """What anybody's script does at the least."""
    from PIL import Image

    size = sent_size(*SIZE, factor=FACTOR, max_pixels=DEFAULT_MAX_PIXELS)
    with Image.open(path) as image:
        image.draft("RGB", size)
        out = BytesIO()
        image.resize(size, Image.Resampling.BICUBIC).save(out, "JPEG", quality=QUALITY)
    return len(out.getvalue())


async def _rates(folder: str, names: Sequence[str], workers: int) -> dict[str, list[float]]:
    pool = Pool(Spec(folder, FACTOR, DEFAULT_MAX_PIXELS), workers)
    loop, rates = asyncio.get_running_loop(), dict[str, list[float]](bare=[], ours=[])
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as executor:

        async def one_bare(name: str) -> None:
            await loop.run_in_executor(executor, bare, os.path.join(folder, name))

        async def one_ours(name: str) -> None:
            assert isinstance(await pool.prepare(name), Prepared)

        for number in range(ROUNDS + 1):  # the first is for starting processes, and reading files from the disk
            for who, one in (("bare", one_bare), ("ours", one_ours)):
                started = time.monotonic()
                await asyncio.gather(*(one(names[at % len(names)]) for at in range(IMAGES)))
                if number:
                    rates[who].append(IMAGES / (time.monotonic() - started))
    pool.close()
    return rates


# -- requests that are out ---------------------------------------------------------------------------------------------


def _in_flight(folder: Path, names: Sequence[str]) -> tuple[float, float, int]:
    """Return the share of the time in which all requests were out that may be, how many were in the mean, and the most
    memory in bytes."""
    rows = "".join(json.dumps({"image_path": names[number % len(names)]}) + "\n" for number in range(ROWS))
    (folder / "in.jsonl").write_text(rows)
    with _server() as (url, seen):
        files = [
            "--input",
            str(folder / "in.jsonl"),
            "--output",
            str(folder / "out.jsonl"),
            "--image-root",
            str(folder),
        ]
        limit = ["--max-concurrency", str(IN_FLIGHT), "--api-base", url]
        ran = command.run([OURS, "-m", "analyze.annotate", *files, *limit])
    first = next(at for at, out in seen if out >= IN_FLIGHT)
    last = max(at for (_, before), (at, out) in pairwise(seen) if out > before)
    full = total = 0.0
    for (at, out), (until, _) in pairwise(seen):
        if first <= at < last:
            full += (until - at) * (out >= IN_FLIGHT)
            total += (until - at) * out
    return full / (last - first), total / (last - first), ran.peak


@contextmanager
def _server() -> Iterator[tuple[str, list[tuple[float, int]]]]:
    """A server in a thread: its URL, and how many requests it had from when on."""
    seen, ready, loop = [(time.monotonic(), 0)], threading.Event(), asyncio.new_event_loop()
    address: list[str] = []

    async def chat(request: web.Request) -> web.Response:
        await request.read()
        seen.append((time.monotonic(), seen[-1][1] + 1))
        await asyncio.sleep(REPLY_S)
        seen.append((time.monotonic(), seen[-1][1] - 1))
        message = {"message": {"role": "assistant", "content": REPLY}, "finish_reason": "stop", "index": 0}
        usage = {"prompt_tokens": 1, "completion_tokens": 1}
        return web.json_response({"id": "1", "object": "chat.completion", "choices": [message], "usage": usage})

    async def models(request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "simulated", "object": "model", "max_model_len": 8192}]})

    async def health(request: web.Request) -> web.Response:
        return web.Response()

    async def serve() -> None:
        app = web.Application(client_max_size=1 << 26)
        app.add_routes(
            [web.post("/v1/chat/completions", chat), web.get("/v1/models", models), web.get("/health", health)]
        )
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address.append(f"http://127.0.0.1:{runner.addresses[0][1]}/v1")
        ready.set()

    def run() -> None:
        loop.run_until_complete(serve())
        loop.run_forever()

    threading.Thread(target=run, daemon=True).start()
    ready.wait()
    try:
        yield address[0], seen
    finally:
        loop.call_soon_threadsafe(loop.stop)
