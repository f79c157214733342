"""Who is asked: a fleet of servers, or any client of the OpenAI client's shape. Knows nothing of rows' meaning."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

from analyze import settings
from analyze.core import BULK, Bounds, Core, Fate, Headers, InstanceReport
from analyze.errors import NoServerError, UsageError
from analyze.fleet import Instance
from analyze.lang import Lang
from analyze.records import CHAT_URL, Answer, Body, Failure, FailureKind, Outcome, Request
from analyze.reply_tokens import reply_tokens
from analyze.settings import Settings, addresses
from analyze.tokens import prompt_tokens, unguarded_tokens


class Asker(Protocol):
    """Answers requests. A lane is one of the servers behind it; `in_flight` bounds the rows out at all of them.

    `on_room` is called when a lane may take more rows than before, or has gone out.
    """

    @property
    def in_flight(self) -> int | None: ...

    on_room: Callable[[], None]
    model: str | None

    def lane(self, *, near_the_end: bool = False) -> Hashable:
        """Return the lane that should take the next row, None when all are full; near the end none is to queue."""

    def room(self) -> int:
        """Return how many more rows could be out."""

    def idle(self) -> Hashable:
        """Return a lane that has little to do, None when none has."""

    def out(self) -> Iterable[Hashable]:
        """Return the lanes that are of no use now."""

    def is_of_use(self) -> bool:
        """Return whether any lane may answer what is out; rows wait for one to come back where none may."""

    async def ask(self, request: Request, lane: Hashable = None, *, fate: Fate | None = None) -> Outcome:
        """Ask one row, at `lane` first. `fate` is shared by all who ask it, and says how many servers may die of it."""

    async def aclose(self) -> None: ...


class OneLane:
    """What an asker says that has one lane only, which takes `in_flight` rows at a time."""

    def __init__(self, in_flight: int) -> None:
        self.in_flight = in_flight
        self.on_room: Callable[[], None] = lambda: None
        self.model: str | None = None

    def lane(self, *, near_the_end: bool = False) -> Hashable:
        return "the only one"

    def room(self) -> int:
        return self.in_flight

    def idle(self) -> Hashable:
        return None

    def out(self) -> Iterable[Hashable]:
        return ()

    def is_of_use(self) -> bool:
        return True


class Nobody(OneLane):
    """Stands where nothing is left to ask. `model`: who would be asked."""

    def __init__(self, model: str | None) -> None:
        super().__init__(1)
        self.model = model

    async def ask(self, request: Request, lane: Hashable = None, *, fate: Fate | None = None) -> Outcome:
        raise UsageError("the input has changed while it was read", cure="run the same command again")

    async def aclose(self) -> None:
        """Nothing is open."""


class FleetAsker:
    """The servers at `urls`. `model` fills requests that name none."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        api_key: str,
        policy: str = "round_robin",
        headers: Headers | None = None,
        bounds: Bounds = BULK,
        in_flight: int | None = None,
    ) -> None:
        self.core = Core(urls, api_key=api_key, policy=policy, headers=headers)
        self._bounds = bounds
        self.in_flight = in_flight
        self.model: str | None = None
        self.reports: list[InstanceReport] = []

    async def connect(self, model: str | None = None) -> None:
        """Look at every server and settle the model: the given one, else the one that all of them serve.

        Servers that are down, or serve something else, are held out, and come back when they are fit. Raises
        NoServerError when none answers, UsageError when the model cannot be settled.
        """
        self.reports = await self.core.survey()
        up = [report for report in self.reports if report.problem is None]
        if not up:
            raise no_server(self.reports)
        self.model = model or _the_one_model(up)
        for instance, report in zip(self.core.fleet.instances, self.reports, strict=True):
            self.core.fleet.required(instance, self.model)
            if report.problem is None and self.model not in report.names:
                self.core.hold_out(instance, f"serves {', '.join(report.names)}, not {self.model}")
        if not self.core.fleet.up:
            served = sorted({name for report in up for name in report.names}) or ["no model at all"]
            raise UsageError(
                f"no server serves {self.model!r}; served: {', '.join(served)}", cure=f"--model {served[0]}"
            )

    def speak(self, say: Callable[[str], None], lang: Lang) -> None:
        """Say what happens to servers in this way."""
        self.core.speak(say, lang)

    def loads(self) -> list[Instance]:
        """Return the servers, with what each has to do."""
        return self.core.fleet.instances

    @property
    def on_room(self) -> Callable[[], None]:
        return self.core.on_room

    @on_room.setter
    def on_room(self, callback: Callable[[], None]) -> None:
        self.core.on_room = callback

    def lane(self, *, near_the_end: bool = False) -> Instance | None:
        return self.core.fleet.with_room(time.monotonic(), near_the_end=near_the_end)

    def room(self) -> int:
        return self.core.fleet.room(time.monotonic())

    def idle(self) -> Instance | None:
        lane = self.lane()
        return lane if lane is not None and lane.in_flight <= lane.window.size // 2 else None

    def out(self) -> list[Instance]:
        return [instance for instance in self.core.fleet.instances if not instance.is_up]

    def is_of_use(self) -> bool:
        return self.core.fleet.standstill_since is None

    async def ask(self, request: Request, lane: Hashable = None, *, fate: Fate | None = None) -> Outcome:
        body = request.body
        if "model" not in body and self.model is not None:
            body = {"model": self.model, **body}
        first = lane if isinstance(lane, Instance) else None
        return await self.core.ask(request, self._bounds, body=body, first=first, fate=fate)

    async def unguarded_tokens(self) -> frozenset[str] | None:
        """Return the control tokens of the model that inserted text could become; None where no server tells."""
        return await unguarded_tokens(self.core.post_beside, self.model)

    async def reply_tokens(self, body: Body, texts: Sequence[str]) -> list[int] | None:
        """Return the token that each of `texts` is as the beginning of a reply to a chat (`reply_tokens`)."""
        return await reply_tokens(self.core.post_beside, self.model, body, texts)

    async def prompt_tokens(self, body: Body) -> list[int] | None:
        """Return the tokens of a request's prompt, chat template included; None where no server tells."""
        return await prompt_tokens(self.core.post_beside, self.model, body)

    async def aclose(self) -> None:
        await self.core.aclose()


class ClientAsker(OneLane):
    """Somebody's own client: `client.chat.completions.create(**body)`, plain or async. Its retries are its own."""

    def __init__(self, client: Any, *, model: str | None = None, in_flight: int = settings.IN_FLIGHT_OF_A_CLIENT):
        import openai

        super().__init__(in_flight)
        self._create: Callable[..., Any] = client.chat.completions.create
        self._is_async = isinstance(client, openai.AsyncOpenAI) or inspect.iscoroutinefunction(self._create)
        # Its own threads: the event loop's own pool has cores + 4, fewer than may be in flight.
        self._threads = ThreadPoolExecutor(in_flight, thread_name_prefix="analyze-client")
        self.model = model

    async def ask(self, request: Request, lane: Hashable = None, *, fate: Fate | None = None) -> Outcome:
        import openai

        if request.url != CHAT_URL:
            return self._failure(request, "invalid", f"this client is asked for chats only, not {request.url}")
        body = request.body if self.model is None else {"model": self.model, **request.body}
        started = time.monotonic()
        try:
            reply = await self._call(body)
        except openai.APITimeoutError as error:
            return self._failure(request, "timeout", str(error))
        except openai.APIStatusError as error:
            kind: FailureKind = "server" if error.status_code >= 500 or error.status_code in (408, 429) else "invalid"
            return self._failure(request, kind, str(error), error.status_code)
        except Exception as error:  # noqa: BLE001 - the border to a client of somebody else's, which may raise anything
            return self._failure(request, "server", f"{type(error).__name__}: {error}")
        content = reply if isinstance(reply, dict) else reply.model_dump(mode="json")
        return Answer(request.id, request.asked, content, latency_s=round(time.monotonic() - started, 4))

    async def _call(self, body: dict[str, Any]) -> Any:
        if self._is_async:
            return await self._create(**body)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(self._create, **body))

    async def unguarded_tokens(self) -> frozenset[str] | None:
        """A client of somebody else's does not tell."""
        return None

    async def reply_tokens(self, body: Body, texts: Sequence[str]) -> list[int] | None:
        """Nor does it tell this."""
        return None

    async def aclose(self) -> None:
        """End the threads; the client stays open: it is not ours."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _failure(self, request: Request, kind: FailureKind, message: str, status: int | None = None) -> Failure:
        return Failure(request.id, request.asked, kind, message, attempts=1, status_code=status)


async def connected_asker(
    client: Any = None,
    *,
    urls: Sequence[str] | None = None,
    api_key: str | None = None,
    model: str | None = None,
    in_flight: int | None = None,
) -> FleetAsker | ClientAsker:
    """Return who to ask: `client`, else the servers at `urls`, else those of the settings.

    A MultiVLLMClient stands for its servers, which are then asked as it would, but without the SDK in between. Raises
    NoServerError, UsageError.
    """
    if client is not None and not hasattr(client, "fleet_options"):
        return ClientAsker(client, model=model, in_flight=in_flight or settings.IN_FLIGHT_OF_A_CLIENT)
    if client is not None:
        asker = FleetAsker(**client.fleet_options(), in_flight=in_flight)
    else:
        resolved = Settings(settings.ADDRESSES)
        key = api_key or settings.api_key(resolved[settings.VLLM_API_KEY])
        asker = FleetAsker(urls or addresses(resolved), api_key=key, in_flight=in_flight)
    try:
        await asker.connect(model)
    except BaseException:
        await asker.aclose()
        raise
    return asker


def no_server(reports: Sequence[InstanceReport]) -> NoServerError:
    tried = "\n".join(f"  {report.url}: {report.problem}" for report in reports)
    return NoServerError(
        f"no server could be reached:\n{tried}",
        cure="./start_vllm.sh starts them, ./check_vllm.sh shows how they are",
    )


def _the_one_model(up: Sequence[InstanceReport]) -> str:
    common = set(up[0].names).intersection(*(report.names for report in up))
    if len(common) == 1 and all(len(report.names) == 1 for report in up):
        return common.pop()
    served = "\n".join(f"  {report.url}: {', '.join(report.names)}" for report in up)
    raise UsageError(f"the servers do not serve one and the same model:\n{served}", cure="choose with --model")
