"""One client under test, in a process of its own: `python -m benchmarks.clients NAME IN_FLIGHT REQUESTS URL ...`.

REQUESTS is a batch file; `--warm-up FILE` is asked before, uncounted. Prints one JSON line: rows, answers, and the
seconds of wall time and of this process's CPU from the first request on; imports and set-up are not counted.

Runs in the peers' environments too, so it imports nothing but the standard library before it knows its name.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import IO, Any

Run = Callable[[Path], int]
"""Asks every row of a file and returns how many were answered."""

LITELLM_RETRIES = 2  # as the SDK's own default


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, "rb") as lines:
        for line in lines:
            yield json.loads(line)


# -- the SDKs ------------------------------------------------------------------------------------------------------


def in_threads(clients: Sequence[Any], in_flight: int) -> Run:
    """A pool of threads, the clients taking turns: what people write."""

    def run(path: Path) -> int:
        def ask(client: Any, body: dict[str, Any]) -> bool:
            try:
                return bool(client.chat.completions.create(**body).choices)
            except Exception as error:  # noqa: BLE001 - whatever a client raises, the row is lost
                print(f"lost: {error!r:.200}", file=sys.stderr)
                return False

        with ThreadPoolExecutor(in_flight) as pool:
            pairs = zip(cycle(clients), rows_of(path), strict=False)
            return sum(pool.map(lambda pair: ask(pair[0], pair[1]["body"]), pairs))

    return run


def in_tasks(creates: Sequence[Callable[..., Awaitable[Any]]], in_flight: int) -> Run:
    """So many tasks, the clients taking turns."""

    async def run(path: Path) -> int:
        source = zip(cycle(creates), rows_of(path), strict=False)

        async def work() -> int:
            done = 0
            for create, row in source:
                try:
                    done += bool((await create(**row["body"])).choices)
                except Exception as error:  # noqa: BLE001 - whatever a client raises, the row is lost
                    print(f"lost: {error!r:.200}", file=sys.stderr)
            return done

        return sum(await asyncio.gather(*(work() for _ in range(in_flight))))

    loop = asyncio.Runner()  # one loop for the warm-up and the run, or connections would not outlive the first
    return lambda path: loop.run(run(path))


def openai_in_threads(urls: Sequence[str], in_flight: int) -> Run:
    import openai

    return in_threads([openai.OpenAI(base_url=url, api_key="x") for url in urls], in_flight)


def openai_async(urls: Sequence[str], in_flight: int) -> Run:
    import openai

    clients = [openai.AsyncOpenAI(base_url=url, api_key="x") for url in urls]
    return in_tasks([client.chat.completions.create for client in clients], in_flight)


def openai_async_over_aiohttp(urls: Sequence[str], in_flight: int) -> Run:
    import openai

    clients = [openai.AsyncOpenAI(base_url=u, api_key="x", http_client=openai.DefaultAioHttpClient()) for u in urls]
    return in_tasks([client.chat.completions.create for client in clients], in_flight)


def litellm_router(urls: Sequence[str], in_flight: int) -> Run:
    import litellm  # type: ignore[import-not-found] # it has an environment of its own

    from benchmarks.workloads import MODEL

    deployments = [
        {"model_name": MODEL, "litellm_params": {"model": f"openai/{MODEL}", "api_base": url, "api_key": "x"}}
        for url in urls
    ]
    router = litellm.Router(model_list=deployments, num_retries=LITELLM_RETRIES)
    return in_tasks([router.acompletion], in_flight)


def multi_vllm_client(urls: Sequence[str], in_flight: int) -> Run:
    from analyze import MultiVLLMClient

    return in_threads([MultiVLLMClient(urls)], in_flight)


def async_multi_vllm_client(urls: Sequence[str], in_flight: int) -> Run:
    from analyze import AsyncMultiVLLMClient

    return in_tasks([AsyncMultiVLLMClient(urls).chat.completions.create], in_flight)


# -- without an SDK ------------------------------------------------------------------------------------------------


def bare_loop(urls: Sequence[str], in_flight: int) -> Run:
    """The floor: aiohttp and orjson, a journal line an answer, no names, no plan, no failover."""
    from orjson import dumps, loads

    async def ask_all(lines: IO[bytes], journal: IO[bytes]) -> int:
        rows, done = zip(cycle(urls), lines, strict=False), 0
        async with http_session() as session:

            async def work() -> None:
                nonlocal done
                for url, line in rows:
                    row = loads(line)
                    target, json_type = url + "/chat/completions", {"Content-Type": "application/json"}
                    async with session.post(target, data=dumps(row["body"]), headers=json_type) as reply:
                        record = {"id": row["custom_id"], "reply": loads(await reply.read())}
                    journal.write(dumps(record) + b"\n")
                    journal.flush()
                    done += 1

            await asyncio.gather(*(work() for _ in range(in_flight)))
        return done

    def run(path: Path) -> int:
        with open(path, "rb") as lines, tempfile.TemporaryFile() as journal:
            return asyncio.run(ask_all(lines, journal))

    return run


def plain_http(urls: Sequence[str], in_flight: int) -> Run:
    """What stands in front of a router: a loop that sends, and takes whatever is no answer as lost."""
    return lambda path: asyncio.run(_post_all([zip(cycle(urls), rows_of(path), strict=False)], in_flight))


def groups_by_hand(urls: Sequence[str], in_flight: int) -> Run:
    """Whole groups, in their order, the i-th to server i mod n, and a pool for each server."""

    def run(path: Path) -> int:
        rows = list(rows_of(path))
        numbers = {group: number for number, group in enumerate(dict.fromkeys(row["group"] for row in rows))}
        own = [[(url, r) for r in rows if numbers[r["group"]] % len(urls) == place] for place, url in enumerate(urls)]
        return asyncio.run(_post_all([iter(pairs) for pairs in own], in_flight // len(urls)))

    return run


async def _post_all(sources: Sequence[Iterator[tuple[str, dict[str, Any]]]], in_flight: int) -> int:
    """Ask what each source has, `in_flight` requests at a time each; return how many were answered."""
    import aiohttp

    async with http_session() as session:

        async def work(source: Iterator[tuple[str, dict[str, Any]]]) -> int:
            done = 0
            for url, row in source:
                try:
                    async with session.post(url + "/chat/completions", json=row["body"]) as reply:
                        done += reply.status == 200 and bool((await reply.json())["choices"])
                except (aiohttp.ClientError, OSError) as error:
                    print(f"lost: {error!r:.200}", file=sys.stderr)
            return done

        return sum(await asyncio.gather(*(work(source) for source in sources for _ in range(in_flight))))


@contextlib.asynccontextmanager
async def http_session() -> AsyncIterator[Any]:
    import aiohttp

    patience = aiohttp.ClientTimeout(total=600)  # the SDK's own
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=patience) as session:
        yield session


# -- ours in bulk --------------------------------------------------------------------------------------------------


def analyze_batch(urls: Sequence[str], in_flight: int) -> Run:
    """The command itself: journal, plan and checks included. `in_flight` 0 leaves it to the command."""
    from analyze import batch

    def run(path: Path) -> int:
        flags = [flag for url in urls for flag in ("--base-url", url)]
        flags += ["--in-flight", str(in_flight)] if in_flight else []
        with tempfile.TemporaryDirectory() as folder:
            answers = Path(folder, "answers.jsonl")
            code = batch.main(["-i", str(path), "-o", str(answers), *flags])
            failed = Path(folder, "answers.jsonl.failed.jsonl")
            if code and failed.exists():
                print(f"exit {code}; lost: {failed.read_text()[:2000]}", file=sys.stderr)
            return answers.read_bytes().count(b"\n")

    return run


CLIENTS: dict[str, Callable[[Sequence[str], int], Run]] = {
    "bare-loop": bare_loop,
    "plain-http": plain_http,
    "groups-by-hand": groups_by_hand,
    "openai-threads": openai_in_threads,
    "openai-async": openai_async,
    "openai-aiohttp": openai_async_over_aiohttp,
    "litellm": litellm_router,
    "batch": analyze_batch,
    "multi": multi_vllm_client,
    "async-multi": async_multi_vllm_client,
}


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description="one client under test")
    parser.add_argument("name", choices=CLIENTS)
    parser.add_argument("in_flight", type=int)
    parser.add_argument("requests", type=Path)
    parser.add_argument("urls", nargs="+")
    parser.add_argument("--warm-up", type=Path)
    args = parser.parse_args()
    stdout, sys.stdout = sys.stdout, sys.stderr  # what a client prints is not the result
    run = CLIENTS[args.name](args.urls, args.in_flight)
    if args.warm_up:
        run(args.warm_up)
    cpu, wall = cpu_s(), time.perf_counter()
    answers = run(args.requests)
    result = {"answers": answers, "cpu_s": cpu_s() - cpu, "wall_s": time.perf_counter() - wall}
    print(json.dumps(result), file=stdout)


if __name__ == "__main__":
    main()
