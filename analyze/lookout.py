"""Looks at the servers beside the requests: who is fit at the start, who has stopped, who has died, who is back.

    survey     /models of all, once               who serves what
    watch      /metrics, while requests are out   who generates nothing; how many wait there
    examine    /health, right after a fault       was that one request, or the end of the server?
    vet        one token, right after a 5xx       was that one request, or is the server broken?
    probe      /health, /models (and one token of an instance that only looked healthy), while one is out

Judges nothing itself: `fleet`, `watch` and `windows` decide, this module looks and tells them. Knows no request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import orjson

from analyze import watch
from analyze.errors import in_language
from analyze.fleet import Fleet, Instance, InstanceReport, Model
from analyze.lang import Lang
from analyze.server_replies import models_of, sample_of, whole_body
from analyze.wire import InstanceFault, Wire

PROBE_TIMEOUT_S = 5.0
GENERATION_TIMEOUT_S = 30.0
"""For one token of an idle engine: a cold one compiles its kernels first."""

EXAMINE_TIMEOUT_S = 2.0
EXAMINE_AGAIN_S = 0.5
"""vLLM's web server may say 200 for a moment after its engine has died, and then ends itself."""

OPINION_S = 1.0
"""How long what /models says is believed, where many requests are refused at once."""

BROKEN = frozenset({500, 502, 503, 504})
"""What a server says that cannot generate now; 501, of one for embeddings, is its nature."""

LAST_LOOK_S = 0.5
"""What a request waits for a last look where patience with the fleet has ended already."""

NO_HEALTH_IN_TIME = "no answer to /health in time"

SETTLING_POLL_S = 0.2
"""While a window still looks for its size."""

TEXTS: dict[Lang, dict[str, str]] = {
    "en": {
        "out": "{url} is out: {reason}; {rest}",
        "one_left": "its requests go to the other one",
        "some_left": "its requests go to the {count} others",
        "none_left": "no server is left, requests wait",
        "back": "{url} is back",
    },
    "zh": {
        "out": "{url} 已停用: {reason}；{rest}",
        "one_left": "其请求转给另一个服务器",
        "some_left": "其请求转给另外 {count} 个服务器",
        "none_left": "没有可用的服务器，请求等待中",
        "back": "{url} 已恢复",
    },
}
"""What is said of servers. Reasons are English, as they are recorded."""


class Lookout:
    """Looks at the instances of a fleet as long as there is a reason to. Belongs to the event loop it is used in."""

    def __init__(
        self,
        fleet: Fleet,
        wire: Wire,
        *,
        say: Callable[[str], None],
        take_back: Callable[[Instance, str], None],
        longest_prompt_tokens: Callable[[Instance], int],
        is_awaited: Callable[[Instance], bool],
        back: Callable[[], None],
        room: Callable[[], None],
    ) -> None:
        """`say` is told who goes out and comes back, in a sentence of `lang` (an attribute; logs are English), `back`
        that somebody has, `room` that one may hold more now."""
        self.lang: Lang = "en"
        self._fleet, self._wire = fleet, wire
        self._say, self._take_back, self._back, self._room = say, take_back, back, room
        self._longest_prompt_tokens, self._is_awaited = longest_prompt_tokens, is_awaited
        self._is_closed = False
        self._probers: dict[Instance, asyncio.Task[None]] = {}
        self._last_look: tuple[float, asyncio.Task[None]] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._looks: dict[Instance, asyncio.Task[None]] = {}  # at /metrics, one at a time each
        self._examinations: dict[Instance, asyncio.Task[None]] = {}
        self._vettings: dict[tuple[Instance, str | None], asyncio.Task[bool]] = {}
        # What all instances last said that they serve, and since when.
        self._opinions: tuple[float, asyncio.Task[dict[Instance, InstanceReport]]] | None = None

    async def aclose(self) -> None:
        self._is_closed = True
        tasks: list[asyncio.Task[Any]] = [*self._looks.values(), *self._examinations.values(), *self._probers.values()]
        tasks += self._vettings.values()
        tasks += [task for _, task in filter(None, (self._opinions, self._last_look))]
        tasks += [self._watcher] if self._watcher else []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- who is fit --------------------------------------------------------------------------------------------

    async def survey(self) -> list[InstanceReport]:
        """Look at every instance, at once, and hold out those that do not answer. Takes seconds, never longer."""
        reports = await self._all_models()
        for instance, report in reports.items():
            if report.problem is None:
                self._fleet.known(instance, report.models)
            else:
                self.hold_out(instance, report.problem)
        return list(reports.values())

    async def alone_unfit(self, instance: Instance, model: str | None) -> str | None:
        """Return why this instance, and not the others, cannot serve `model`; None where it can, or nobody can."""
        now = _now()
        if self._opinions is None or now - self._opinions[0] > OPINION_S:
            self._opinions = now, asyncio.create_task(self._all_models())
        await asyncio.wait([self._opinions[1]])
        if self._opinions[1].cancelled():  # the client was closed
            return None
        found = self._opinions[1].result()
        own, reports = found[instance], [found[other] for other in self._fleet.up if other is not instance]
        if model is not None and not any(model in report.names for report in reports):
            return None
        if own.problem is not None:
            return own.problem if any(report.problem is None for report in reports) else None
        return None if model is None or model in own.names else f"serves {_listed(own.models)}, not {model}"

    async def _all_models(self) -> dict[Instance, InstanceReport]:
        instances = self._fleet.instances
        return dict(zip(instances, await asyncio.gather(*map(self._models, instances)), strict=True))

    async def _models(self, instance: Instance) -> InstanceReport:
        try:
            status, body = await self._wire.get(instance.url + "/models", PROBE_TIMEOUT_S)
        except (InstanceFault, TimeoutError) as error:
            return InstanceReport(instance.url, problem=str(error) or f"no answer within {PROBE_TIMEOUT_S:g} s")
        if status in (401, 403):
            return InstanceReport(instance.url, problem=f"HTTP {status}: the key is refused; set VLLM_API_KEY")
        if status != 200:
            return InstanceReport(instance.url, problem=f"/models says HTTP {status}")
        try:
            return InstanceReport(instance.url, models_of(body))
        except ValueError as error:
            return InstanceReport(instance.url, problem=str(error))

    def hold_out(self, instance: Instance, reason: str) -> None:
        """Send nothing to this instance until a probe finds it fit."""
        self._fleet.hold_out(instance, reason, _now())
        self.begin_probing()

    def say_out(self, instance: Instance, reason: str) -> None:
        texts, left = TEXTS[self.lang], len(self._fleet.up)
        rest = texts["none_left" if not left else "one_left" if left == 1 else "some_left"].format(count=left)
        self._say(texts["out"].format(url=instance.url, reason=in_language(reason, self.lang), rest=rest))

    # -- who has stopped ---------------------------------------------------------------------------------------

    def begin_watching(self) -> None:
        """Watch as long as any request is out."""
        if (self._watcher is None or self._watcher.done()) and not self._is_closed:
            self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        looked_at = _now()
        while working := [i for i in self._fleet.instances if i.in_flight]:
            pause_s = min(SETTLING_POLL_S, watch.POLL_S) if self._is_settling(working) else watch.POLL_S
            await asyncio.sleep(pause_s)
            now = _now()
            if (late_s := now - looked_at - pause_s) > watch.POLL_S:
                for instance in working:
                    instance.watch.overslept(late_s)
            looked_at = now
            self._fleet.excuse_shared_stall(now)
            for instance in working:
                if instance.in_flight:
                    self._look_at(instance, now)
            self._room()

    def _is_settling(self, working: list[Instance]) -> bool:
        return any(i.window.changed and i.is_up for i in working)

    def _look_at(self, instance: Instance, now: float) -> None:
        """Judge by what is known, and look again where the last look has come back."""
        reason = instance.watch.stopped(
            now,
            longest_prompt_tokens=self._longest_prompt_tokens(instance),
            has_answered=instance.answers > 0,
            is_awaited=self._is_awaited(instance),
        )
        was_up = instance.is_up
        if reason is not None and self._fleet.hung(instance, reason, now):
            if was_up:
                self.say_out(instance, reason)
            self.begin_probing()
            self._take_back(instance, reason)
            return
        look = self._looks.get(instance)
        if look is None or look.done():
            self._looks[instance] = asyncio.create_task(self._sample(instance))

    async def _sample(self, instance: Instance) -> None:
        if instance.models is None:
            await self._learn_models(instance)
        try:
            status, body = await self._wire.get(_root(instance) + "/metrics", watch.SILENT_S / 2)
        except TimeoutError:
            if await self._unhealthy(instance, watch.SILENT_S) != NO_HEALTH_IN_TIME:
                self._fleet.sampled(instance, None, _now())
            return
        except InstanceFault as fault:
            if fault.gone and self._fleet.failed(instance, str(fault), _now(), gone=True):
                self.say_out(instance, str(fault))
                self.begin_probing()
            return
        self._fleet.sampled(instance, sample_of(body) if status == 200 else None, _now())
        if instance.window.changed:
            self._room()

    async def _learn_models(self, instance: Instance) -> None:
        report = await self._models(instance)
        if report.problem is None:
            self._fleet.known(instance, report.models)

    # -- who has died ------------------------------------------------------------------------------------------

    def examine(self, instance: Instance) -> asyncio.Task[None]:
        """Find out, at once and once for all who ask, whether a fault was the end of this instance."""
        task = self._examinations.get(instance)
        if task is None or task.done():
            task = self._examinations[instance] = asyncio.create_task(self._examine(instance))
        return task

    async def _examine(self, instance: Instance) -> None:
        problem = await self._unhealthy(instance, EXAMINE_TIMEOUT_S)
        if problem is None:
            await asyncio.sleep(EXAMINE_AGAIN_S)
            problem = await self._unhealthy(instance, EXAMINE_TIMEOUT_S)
        if problem is None or problem == NO_HEALTH_IN_TIME:
            return
        was_up = instance.is_up
        self._fleet.died(instance, _now())
        self.hold_out(instance, problem)
        if was_up:
            self.say_out(instance, problem)

    async def _unhealthy(self, instance: Instance, timeout_s: float = PROBE_TIMEOUT_S) -> str | None:
        """Return what /health has against the instance: not that it is missing, or guarded by a proxy (4xx)."""
        try:
            status, _ = await self._wire.get(_root(instance) + "/health", timeout_s)
        except TimeoutError:
            return NO_HEALTH_IN_TIME
        except InstanceFault as fault:
            return str(fault)
        return None if status < 500 else f"/health says HTTP {status}"

    def vet(self, instance: Instance, model: str | None) -> asyncio.Task[bool]:
        """Find out, at once and once for all who ask, whether an instance that answers with errors does generate."""
        task = self._vettings.get((instance, model))
        if task is None or task.done():
            task = self._vettings[instance, model] = asyncio.create_task(self._vet(instance, model))
        return task

    async def _vet(self, instance: Instance, model: str | None) -> bool:
        answers = instance.answers
        try:
            status, body = await self._token(instance, model, EXAMINE_TIMEOUT_S)
            return status == 200 and bool(whole_body(body, "/completions"))
        except TimeoutError:  # the token may queue behind what others asked for
            return instance.answers > answers or instance.watch.is_moving(_now())
        except (InstanceFault, ValueError):
            return False

    # -- who is back -------------------------------------------------------------------------------------------

    def begin_probing(self) -> None:
        """Look at every instance that is out, each at its own pace, until it is back."""
        for instance in self._fleet.instances:
            prober = self._probers.get(instance)
            if not instance.is_up and (prober is None or prober.done()) and not self._is_closed:
                self._probers[instance] = asyncio.create_task(self._probe_until_up(instance))

    async def last_look(self) -> None:
        """Look at once at all that are out, before somebody gives up; once for all who are about to."""
        now = _now()
        if self._last_look is None or now - self._last_look[0] > LAST_LOOK_S:
            out = [instance for instance in self._fleet.instances if not instance.is_up]
            self._last_look = now, asyncio.create_task(self._probe_all(out))
        await asyncio.wait([self._last_look[1]], timeout=LAST_LOOK_S)

    async def _probe_all(self, instances: list[Instance]) -> None:
        await asyncio.gather(*map(self._probe, instances))

    async def _probe_until_up(self, instance: Instance) -> None:
        while not instance.is_up:
            await asyncio.sleep(max(0.0, instance.probe_at - _now()))
            if not instance.is_up:
                await self._probe(instance)

    async def _probe(self, instance: Instance) -> None:
        problem = await self._unhealthy(instance)
        report = InstanceReport(instance.url)
        if problem is None:
            report = await self._models(instance)
            problem = report.problem or _other_model(instance.models, report.models)
        if problem is None and instance.must_generate:
            problem = await self._generates_nothing(instance, report.models)
        if instance.is_up:
            return  # another look has found it so
        self._fleet.probed(instance, problem, _now())
        if problem is None:
            self._fleet.known(instance, report.models)
            self._say(TEXTS[self.lang]["back"].format(url=instance.url))
            self._back()

    async def _generates_nothing(self, instance: Instance, models: tuple[Model, ...]) -> str | None:
        """Have one token generated. Whatever is said in time is a sign of life, a refusal too (embedding models)."""
        try:
            status, body = await self._token(instance, models[0].name if models else None, GENERATION_TIMEOUT_S)
            if status == 200:
                whole_body(body, "/completions")
        except ValueError as error:
            return f"looks healthy, but generates nonsense ({error})"
        except (InstanceFault, TimeoutError) as error:
            return f"looks healthy, but generates nothing ({str(error) or 'no token in time'})"
        return f"looks healthy, but says HTTP {status}" if status in BROKEN else None

    async def _token(self, instance: Instance, model: str | None, timeout_s: float) -> tuple[int, bytes]:
        content = orjson.dumps({"model": model or "", "prompt": "1", "max_tokens": 1})
        return await self._wire.post(instance.url + "/completions", content, timeout_s)


def _other_model(wanted: tuple[Model, ...] | None, served: tuple[Model, ...]) -> str | None:
    """Return how an instance that came back is another one than it was: other names, or other weights under one."""
    missing = [model for model in wanted or () if not any(model.is_served_as(other) for other in served)]
    return f"serves {_listed(served)} now, not {_listed(missing)}" if missing else None


def _listed(models: list[Model] | tuple[Model, ...]) -> str:
    return ", ".join(map(str, models)) or "no model"


def _root(instance: Instance) -> str:
    return instance.url.removesuffix("/v1")


def _now() -> float:
    return time.monotonic()
