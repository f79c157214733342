"""The constants of a step, fitted to a real vLLM server on this machine's CPU with the tiny random model.

    step:    n sequences decode side by side, n = 1 .. 32            time a step = step_s + sequence_s x n
    prompt:  one prompt of p tokens and one token of answer          time = a round trip + prefill_token_s x p
    check:   a mixed load on the same server, against the engine with these constants

The CPU's constants are not used for the makespans: there a step of a batch of 64 costs mostly its sequences, on a GPU
mostly itself, which is what makes batching, and with it the number of requests in flight, worth anything.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from benchmarks import ideal
from benchmarks.engine import Profile, sequence_of
from benchmarks.peers import free_ports
from benchmarks.results import Section
from benchmarks.rig import table

FIT = Path(__file__).with_name("fit.json")

BATCHES = (1, 2, 4, 8, 16, 24, 32)
SHORT_ANSWER, LONG_ANSWER = 16, 144  # their difference, 128 steps, has no start and no end in it
PROMPTS = (64, 256, 512, 1024, 2048, 4096, 6144)
FITTED_PROMPTS = 5  # the first five: from 4,096 on a prompt is more than one step, and attention more than a trifle
REPEATS = 5  # the least of them counts: what disturbs only adds
SLOTS = 32
CHECKED = 150
VOCABULARY = (300, 2000)  # token ids of ordinary words in the tiny model


@contextmanager
def real_server() -> Iterator[str]:
    """Run one vLLM CPU server, as ./start_vllm.sh does on a machine without a card; yield its base URL."""
    from analyze import servers
    from analyze.servers import processes

    with tempfile.TemporaryDirectory() as logs:
        environ = {"VLLM_PORTS": str(free_ports(1)[0]), "VLLM_LOG_DIR": logs, "MAX_NUM_SEQS": str(SLOTS)}
        plan = servers.plan(servers.server_settings(environ), gpus=())
        subprocess.run([sys.executable, "-m", "analyze.tiny_model", str(plan.demo_model)], check=True, timeout=120)
        servers.start(plan.specs)
        try:
            yield f"http://127.0.0.1:{plan.specs[0].port}/v1"
        finally:
            servers.stop_records(processes.read_records(Path(logs)), drain_timeout_s=0)


class Asked:
    """One real server, asked with exact prompt and answer lengths."""

    def __init__(self, url: str, session: aiohttp.ClientSession, model: str) -> None:
        self._url, self._session, self._model = url + "/completions", session, model
        self._dice = random.Random(1)

    async def one(self, prompt_tokens: int, output_tokens: int) -> None:
        prompt = [self._dice.randrange(*VOCABULARY) for _ in range(prompt_tokens)]
        body: dict[str, Any] = {"model": self._model, "prompt": prompt, "max_tokens": output_tokens}
        async with self._session.post(self._url, json={**body, "ignore_eos": True, "temperature": 0}) as reply:
            usage = (await reply.json())["usage"]
        assert usage["completion_tokens"] == output_tokens and usage["prompt_tokens"] == prompt_tokens, usage

    async def together(self, loads: Sequence[tuple[int, int]]) -> float:
        """Ask all of (prompt, answer) tokens at once; return the seconds until the last is answered."""
        started = time.perf_counter()
        await asyncio.gather(*(self.one(*load) for load in loads))
        return time.perf_counter() - started


async def _measure(url: str) -> dict[str, Any]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=300)) as session:
        async with session.get(url + "/models") as reply:
            model = (await reply.json())["data"][0]["id"]
        asked = Asked(url, session, model)
        await asked.together([(64, 32)] * SLOTS)  # the first requests of a server compile and allocate
        batches = {(n, length): float("inf") for n in BATCHES for length in (LONG_ANSWER, SHORT_ANSWER)}
        prompts = dict.fromkeys(PROMPTS, float("inf"))
        for _ in range(REPEATS):  # over and over, not one after the other, so that a noisy moment spoils one of each
            for n, length in batches:
                batches[n, length] = min(batches[n, length], await asked.together([(16, length)] * n))
            for tokens in prompts:
                prompts[tokens] = min(prompts[tokens], await asked.together([(tokens, 1)]))
        steps = [(batches[n, LONG_ANSWER] - batches[n, SHORT_ANSWER]) / (LONG_ANSWER - SHORT_ANSWER) for n in BATCHES]
        mixed = min([await asked.together(_mixed_load()) for _ in range(REPEATS)])
        return {"steps_s": steps, "prompts_s": list(prompts.values()), "mixed_s": mixed}


def _mixed_load() -> list[tuple[int, int]]:
    dice = random.Random(2)
    return [(dice.randint(50, 800), dice.randint(10, 150)) for _ in range(CHECKED)]


def line(of: Sequence[int], seconds: Sequence[float]) -> tuple[float, float]:
    """Return the slope and the start of the line nearest to what was measured: least squares of relative errors."""
    slope, start = np.polyfit(of, seconds, 1, w=1 / np.asarray(seconds))
    return float(slope), float(start)


def fit() -> Section:
    """Measure, fit, write fit.json."""
    with real_server() as url:
        measured = asyncio.run(_measure(url))
    steps_s, prompts_s = measured["steps_s"], measured["prompts_s"]
    sequence_s, step_s = line(BATCHES, steps_s)
    prefill_token_s, trip_s = line(PROMPTS[:FITTED_PROMPTS], prompts_s[:FITTED_PROMPTS])
    profile = Profile(step_s, sequence_s, prefill_token_s, slots=SLOTS)
    sequences = [sequence_of(random.Random(n).randbytes(p * 4), o) for n, (p, o) in enumerate(_mixed_load())]
    rows = [
        *(_row(f"a step of {n} sequences", s, step_s + sequence_s * n) for n, s in zip(BATCHES, steps_s, strict=True)),
        *(
            _row(f"a prompt of {n:,} tokens", s, trip_s + prefill_token_s * n)
            for n, s in zip(PROMPTS, prompts_s, strict=True)
        ),
        _row(f"{CHECKED} mixed requests at once", measured["mixed_s"], ideal.central_queue(sequences, [profile])),
    ]
    FIT.write_text(json.dumps({"profile": asdict(profile), "round_trip_s": trip_s, "rows": rows}, indent=1) + "\n")
    worst = max(abs(_off(s, step_s + sequence_s * n)) for n, s in zip(BATCHES, steps_s, strict=True))
    formula = (
        f"step = {1000 * step_s:.2f} ms + {1000 * sequence_s:.3f} ms a sequence "
        f"+ {1000 * prefill_token_s:.4f} ms a prompt token"
    )
    text = f"""One vLLM CPU server with the tiny random model and {SLOTS} slots, asked with exact lengths; the least of
{REPEATS} times. Fitted, prompts up to {PROMPTS[FITTED_PROMPTS - 1]:,} tokens: {formula}. Steps are off by {worst:.0%}
at most. Longer prompts cost more than the line says, since attention grows with their square: the model leaves that
out. The last row was not fitted: the same load in the real server and in the engine alone, which has no HTTP server on
its core, no tokens to make text of, and no contexts to attend to.

{table(["what", "measured, ms", "with the constants, ms", "off by"], rows)}

The makespans below are those of servers of this form with the constants of a GPU: step = 8 ms + 0.06 ms a sequence
+ 0.02 ms a prompt token. With the CPU's, prompts are most of the work, and neither batching nor the order of the rows
matters much; one row shows them too."""
    return Section("The model of a server, against a real one", text)


def _row(what: str, measured_s: float, modelled_s: float) -> list[str]:
    return [what, f"{1000 * measured_s:.1f}", f"{1000 * modelled_s:.1f}", f"{_off(measured_s, modelled_s):+.0%}"]


def _off(measured_s: float, modelled_s: float) -> float:
    return modelled_s / measured_s - 1
