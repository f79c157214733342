"""What a file job would ask, said without asking: the first request, its tokens, those that all prompts share, all.

    rows ──> plan ──> the first, the one least like it, SAMPLE others ──> tokens of their prompts ──> counts
Tokens are those of whoever would answer (`TokensOf`), chat template included: of what is looked at they are counted, of
the rest estimated by its bytes. Where nobody tells, all are estimated, and that is said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from random import Random

import orjson

from analyze.console import printable
from analyze.errors import EXIT_OK, NoServerError, in_language
from analyze.lang import Lang
from analyze.prefixes import common_start, has_prompt, prompt_bytes
from analyze.records import Body, Request
from analyze.runs.account import Account
from analyze.runs.askers import Asker, FleetAsker
from analyze.runs.filejob import FileJob
from analyze.runs.plan import Plan

TokensOf = Callable[[Sequence[Body]], Sequence[Sequence[int]] | None]
"""Returns the tokens of each request's prompt, as the model would read them; None where nobody tells."""

BYTES_PER_TOKEN = 4
SHOWN_CHARS = 4000

SAMPLE = 64
"""Rows whose tokens are counted: at 5 ms a request a third of a second. Where tokens a byte differ by half from row to
row, their mean is then known to 6 %."""

TEXTS: dict[Lang, dict[str, str]] = {
    "en": {
        "first": "the first request that would be asked, {id} ({url}):",
        "nobody": "nobody here tells how many tokens a text has (no server that answers, no model on this machine): "
        "they are estimated, 4 bytes each",
        "prompt": "its prompt has {tokens:,} tokens, chat template included",
        "shared": "all prompts begin alike for {about}{tokens:,} tokens, {share:.0%} of what is read: a server with a "
        "prefix cache computes them once",
        "unasked": "rows without anything to ask, which would fail: {count:,}",
        "dry": "{read:,} rows read: {ok:,} answered before, {failed:,} failed before, {rejected:,} rejected; "
        "{left:,} would be asked, {about}{tokens:,} prompt tokens ({how})",
        "about": "about ",
        "by_bytes": "4 bytes each",
        "by_sample": "by those of {count}",
        "by_count": "counted",
    },
    "zh": {
        "first": "将要发出的第一个请求，{id}（{url}）:",
        "nobody": "无从得知文本的词元数（没有可用的服务器，本机也没有该模型）: 按每 4 字节一个词元估算",
        "prompt": "其提示共 {tokens:,} 个词元，含对话模板",
        "shared": "所有提示的开头有{about} {tokens:,} 个词元相同，占读入总量的 {share:.0%}: "
        "有前缀缓存的服务器只计算一次",
        "unasked": "没有可问内容、将会失败的行: {count:,}",
        "dry": "共读取 {read:,} 行: 此前成功 {ok:,}，此前失败 {failed:,}，拒收 {rejected:,}；将要请求 {left:,} 行，"
        "共{about} {tokens:,} 个提示词元（{how}）",
        "about": "约",
        "by_bytes": "按每 4 字节一个计",
        "by_sample": "按其中 {count} 行推算",
        "by_count": "实际计数",
    },
}


def dry_run(job: FileJob, tokens_of: TokensOf) -> int:
    """Read the whole input, ask nothing, write nothing; say what would be asked."""
    texts, account = TEXTS[job.lang], Account()
    plan = Plan(job.known().seen, account, retry_failed=job.retry_failed, update=job.update)
    seen = _Seen()
    for request in chain.from_iterable(map(plan.left_of, job.rows(job.source(), account).chunks())):
        seen.add(request)
    tokens, how = 0, texts["by_bytes"]
    if seen.first is not None:
        print(texts["first"].format(id=seen.first.id, url=seen.first.url))
        print(printable(orjson.dumps(seen.first.body, option=orjson.OPT_INDENT_2).decode()[:SHOWN_CHARS]))
        told = tokens_of([request.body for request in seen.looked_at])
        tokens = _say_counted(seen, told, texts) if told is not None else _say_estimated(seen, texts)
        if told is not None:
            how = texts["by_count" if seen.is_whole else "by_sample"].format(count=len(seen.sample))
    if seen.unasked:
        print(texts["unasked"].format(count=seen.unasked))
    counts = account.counts() | {"failed": account.failed.total(), "left": seen.rows}
    about = "" if seen.is_whole and how == texts["by_count"] else texts["about"]
    print(texts["dry"].format(**counts, about=about, tokens=tokens, how=how))
    return EXIT_OK


def _say_counted(seen: _Seen, told: Sequence[Sequence[int]], texts: dict[str, str]) -> int:
    """Say what was counted; return how many tokens there are altogether."""
    first, _, *sample = map(len, told)
    shared = min(_common(told[0], other) for other in told)
    beyond = seen.bytes_beyond(seen.sample)
    rate = (sum(sample) - shared * len(sample)) / beyond if beyond else 0.0
    tokens = round(seen.rows * shared + rate * (seen.size - seen.rows * len(seen.shared)))
    print(texts["prompt"].format(tokens=first))
    if seen.rows > 1:
        print(texts["shared"].format(about="", tokens=shared, share=seen.rows * shared / max(1, tokens)))
    return tokens


def _say_estimated(seen: _Seen, texts: dict[str, str]) -> int:
    print(texts["nobody"])
    if seen.rows > 1:
        share, tokens = seen.rows * len(seen.shared) / seen.size, len(seen.shared) // BYTES_PER_TOKEN
        print(texts["shared"].format(about=texts["about"], tokens=tokens, share=share))
    return seen.size // BYTES_PER_TOKEN


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


@dataclass(slots=True)
class _Seen:
    """What is known of the rows so far.

    `size`: bytes of all prompts; `shared`: what all begin with; `least`: the row that left it so short.
    `sample` are rows drawn from all, each as likely as any other (reservoir sampling), the same ones every time.
    """

    first: Request | None = None
    least: Request | None = None
    rows: int = 0
    size: int = 0
    unasked: int = 0
    shared: bytes = b""
    sample: list[Request] = field(default_factory=list)
    _draw: Random = field(default_factory=lambda: Random(0))

    def add(self, request: Request) -> None:
        if not has_prompt(request.body):
            self.unasked += 1
            return
        prompt = prompt_bytes(request.body)
        if self.first is None:
            self.first, self.least, self.shared = request, request, prompt
        elif not prompt.startswith(self.shared):
            self.least, self.shared = request, common_start(self.shared, prompt)
        self.rows += 1
        self.size += len(prompt)
        if len(self.sample) < SAMPLE:
            self.sample.append(request)
        elif (place := int(self._draw.random() * self.rows)) < SAMPLE:
            self.sample[place] = request

    @property
    def is_whole(self) -> bool:
        """Whether the sample is all there is."""
        return self.rows == len(self.sample)

    @property
    def looked_at(self) -> list[Request]:
        return [one for one in (self.first, self.least) if one is not None] + self.sample

    def bytes_beyond(self, requests: Iterable[Request]) -> int:
        """Return how many bytes the prompts of these have behind what all share."""
        return sum(len(prompt_bytes(request.body)) - len(self.shared) for request in requests)


def served(connect: Callable[[], Awaitable[Asker]], lang: Lang) -> TokensOf:
    """Return who asks the servers' own tokenizer. Where none answers that is said, and nothing is told."""

    async def ask(bodies: Sequence[Body]) -> list[Sequence[int]] | None:
        try:
            asker = await connect()
        except NoServerError as error:
            print(printable(in_language(error.message, lang)))
            return None
        told: list[Sequence[int]] = []
        try:
            for body in bodies:
                tokens = await asker.prompt_tokens(body) if isinstance(asker, FleetAsker) else None
                if tokens is None:
                    return None
                told.append(tokens)
        finally:
            await asker.aclose()
        return told

    return lambda bodies: asyncio.run(ask(bodies))
