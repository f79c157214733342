"""The last lines of a run: how every row of the input has ended, what each server did, what would make the next faster.

Pure: numbers in, lines out. Advice is given where the samples of the servers leave no doubt, and never more than two
pieces of it: what most runs need is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log2
from statistics import fmean, median
from typing import NamedTuple

from analyze.console import printable
from analyze.lang import Lang
from analyze.runs.account import Account
from analyze.runs.amounts import columns, percent, short, span
from analyze.runs.lengths import PREFILL_WEIGHT
from analyze.runs.tally import Part, Share, Tally

PIECES = 2

TELLING_S = 60.0
"""What a server did for less than this says little of the next run."""

WORTHWHILE = 1.05
"""A run that would be less than 5 % faster is left as it is."""

PINNED = 0.8
"""A server whose mean of running requests is this near to their maximum is held by MAX_NUM_SEQS: work alone goes up
and down."""

ROOMY = 0.5
FULL = 0.95
"""KV cache in use at most: half of it, there was room all the time; this share, it was full."""

ANEW = 0.1
"""Preemptions to answers from which on they cost more than the memory they make do with."""

SLOW = 0.6
"""Of the median speed of the others. Servers that are alike differ by a few percent."""

FEWEST_ANSWERS = 30

OUT = 0.1
"""Of the time: a server that was restarted once is none to look into."""

MOST_SEQS = 256
SAFE = 0.9
"""What is advised for MAX_NUM_SEQS: vLLM's own default at most, and what fills this share of the KV cache."""

REASON_CHARS = 120

NOT_TOLD = "–"

TEXTS: dict[Lang, dict[str, str]] = {
    "en": {
        "sum": "{read:,} rows read: {ok:,} ok ({before:,} of them before), {invalid:,} invalid, {failed:,} failed, "
        "{rejected:,} rejected, {left:,} left",
        "unread": ", and the rows not read yet",
        "elsewhere": "; {count:,} more belong to other shards",
        "work": "{span}: {requests} requests/s; tokens: {prompt:,} in ({prompt_rate}/s), "
        "{completion:,} out ({completion_rate}/s)",
        "failed": "{kind}: {count:,} failed, as {id}: {message}",
        "head": "server|answers|share|failed|tokens/s|running|waiting|KV|idle",
        "faster": "faster next time: {advice}",
        "more_seqs": "KV cache at most {kv} full, {waiting} requests waiting while {running} ran: "
        "raise MAX_NUM_SEQS from {most}, to {wanted} say",
        "in_flight": "nothing waited at the servers, KV cache at most {kv} full: "
        "--in-flight {limit} held them back; leave it out",
        "preempted": "KV cache full, requests started anew {times:,} times for {answers:,} answers: lower MAX_NUM_SEQS "
        "({most} ran at most), or raise GPU_MEMORY_UTILIZATION or TENSOR_PARALLEL_SIZE",
        "out": "{server} was out {share} of the time: {reason}; look into its log",
        "slow": "{server} was {ratio} times as fast as the others ({speed} against {usual} tokens/s): "
        "look what else runs on its GPUs",
        "too_long": "{count:,} rows are too long: raise MAX_MODEL_LEN, then run again with --retry-failed",
    },
    "zh": {
        "sum": "共读取 {read:,} 行: 成功 {ok:,}（其中此前 {before:,}），无效 {invalid:,}，失败 {failed:,}，"
        "拒收 {rejected:,}，剩余 {left:,}",
        "unread": "，另有尚未读取的行",
        "elsewhere": "；另有 {count:,} 行属于其他分片",
        "work": "{span}: {requests} 请求/秒；词元: 读入 {prompt:,}（{prompt_rate}/秒），"
        "写出 {completion:,}（{completion_rate}/秒）",
        "failed": "{kind}: {count:,} 行失败，如 {id}: {message}",
        "head": "服务器|回答|占比|失败|词元/秒|运行|等待|KV|空闲",
        "faster": "下次可更快: {advice}",
        "more_seqs": "KV 缓存最多只用到 {kv}，{running} 个请求在运行时有 {waiting} 个在等待: "
        "调高 MAX_NUM_SEQS（现为 {most}），例如 {wanted}",
        "in_flight": "服务器上没有请求等待，KV 缓存最多只用到 {kv}: 受限于 --in-flight {limit}，去掉它即可",
        "preempted": "KV 缓存已满，{answers:,} 个回答期间有 {times:,} 次请求被迫重来: 调低 MAX_NUM_SEQS"
        "（最多同时运行 {most}），或调高 GPU_MEMORY_UTILIZATION 或 TENSOR_PARALLEL_SIZE",
        "out": "{server} 有 {share} 的时间不可用: {reason}；请查看其日志",
        "slow": "{server} 的速度只有其他服务器的 {ratio} 倍（{speed} 对 {usual} 词元/秒）: "
        "请查看它的 GPU 上还有什么在运行",
        "too_long": "{count:,} 行过长: 调高 MAX_MODEL_LEN，再加 --retry-failed 运行",
    },
}

Advice = tuple[float, str]
"""How many times as fast the next run would be, and by what."""


def last_lines(
    account: Account,
    tally: Tally,
    parts: Sequence[Part],
    seconds: float,
    lang: Lang,
    *,
    in_flight: int | None = None,
    is_all_read: bool = True,
) -> list[str]:
    """Return what is said when a run of `seconds` has ended: an example of each kind of failure, what the servers did,
    and as the very last line the account of every row.

    `in_flight` is the limit that the user gave, if any.
    """
    too_long = account.failed["too_long"]
    work = work_lines(tally, parts, seconds, lang, in_flight=in_flight, too_long=too_long)
    return [*failure_lines(tally, lang), *work, sum_line(account, lang, is_all_read=is_all_read)]


def failure_lines(tally: Tally, lang: Lang) -> list[str]:
    """Return a line for each kind of failure of this execution, the most frequent first, with an example."""
    return [
        TEXTS[lang]["failed"].format(kind=kind, count=count, id=_told(example.id), message=_told(example.message))
        for kind, count in tally.failed.most_common()
        if (example := tally.examples.get(kind))
    ]


def _told(text: str) -> str:
    """Return on one line, harmless and short, what an input or a server said."""
    return printable(" ".join(text.split()))[:REASON_CHARS]


def work_lines(
    tally: Tally, parts: Sequence[Part], seconds: float, lang: Lang, *, in_flight: int | None, too_long: int
) -> list[str]:
    """Return what the servers did in this execution, and what would make the next one faster."""
    if not tally.outcomes:
        return []
    pieces = advice(parts, lang, in_flight=in_flight, too_long=too_long)
    return [*table(parts, lang), work_line(tally, seconds, lang), *pieces]


def sum_line(account: Account, lang: Lang, *, is_all_read: bool = True) -> str:
    """Return the line that accounts for every row: those after the colon are together those before it."""
    texts = TEXTS[lang]
    line = texts["sum"].format(
        read=account.read,
        ok=account.ok,
        before=account.before,
        invalid=account.invalid,
        failed=account.failed.total() - account.invalid,
        rejected=account.rejected,
        left=account.left,
    )
    elsewhere = texts["elsewhere"].format(count=account.elsewhere) if account.elsewhere else ""
    return line + ("" if is_all_read else texts["unread"]) + elsewhere


def work_line(tally: Tally, seconds: float, lang: Lang) -> str:
    passed = max(seconds, 1e-3)
    return TEXTS[lang]["work"].format(
        span=span(seconds, lang),
        requests=short(tally.outcomes / passed),
        prompt=tally.prompt_tokens,
        prompt_rate=short(tally.prompt_tokens / passed),
        completion=tally.completion_tokens,
        completion_rate=short(tally.completion_tokens / passed),
    )


def table(parts: Sequence[Part], lang: Lang) -> list[str]:
    """Return a line a server, below the names of the columns that anything is known of; nothing without servers.

    Running and waiting requests, as the server says: the mean, and the most at a time.
    """
    if not parts:
        return []
    answers = sum(part.share.answers for part in parts)

    def gauge(mean: float | None, most: int | None) -> str:
        return NOT_TOLD if mean is None or most is None else f"{short(mean)}/{most}"

    def row(part: Part) -> list[str]:
        share, use = part.share, part.use
        return [
            server(part.url),
            f"{share.answers:,}",
            percent(share.answers / answers) if answers else NOT_TOLD,
            f"{share.failures:,}",
            short(share.completion_tokens / use.seconds) if use and use.seconds and share.answers else NOT_TOLD,
            gauge(use.running_mean, use.running_most) if use else NOT_TOLD,
            gauge(use.waiting_mean, use.waiting_most) if use else NOT_TOLD,
            NOT_TOLD if use is None or use.kv_cache_most is None else percent(use.kv_cache_most),
            NOT_TOLD if use is None else percent(use.idle),
        ]

    by_column = zip(TEXTS[lang]["head"].split("|"), *map(row, parts), strict=True)
    known = [column for column in by_column if set(column[1:]) != {NOT_TOLD}]
    return columns(list(zip(*known, strict=True)))


def server(url: str) -> str:
    """Return an address as short as it can be told."""
    return url.removeprefix("http://").removesuffix("/v1")


# -- advice ------------------------------------------------------------------------------------------------------------


def advice(parts: Sequence[Part], lang: Lang, *, in_flight: int | None = None, too_long: int = 0) -> list[str]:
    """Return what would make the next run faster, the most valuable first."""
    texts = TEXTS[lang]
    measured = [part for part in parts if part.use is not None and part.use.seconds >= TELLING_S]
    found = [
        _more_seqs(measured, texts),
        _more_in_flight(measured, texts, in_flight),
        _fewer_preemptions(measured, texts),
        _one_out(measured, texts),
        _one_slow(measured, texts),
    ]
    answers = sum(part.share.answers for part in parts)
    worthwhile = sorted((piece for piece in found if piece and piece[0] >= WORTHWHILE), reverse=True)
    told = [text for _, text in worthwhile]
    if too_long and too_long >= answers / 100:
        told.append(texts["too_long"].format(count=too_long))
    return [texts["faster"].format(advice=text) for text in told[:PIECES]]


def _more_seqs(parts: Sequence[Part], texts: dict[str, str]) -> Advice | None:
    """Requests waited while a full batch ran that the KV cache had room to enlarge: MAX_NUM_SEQS kept them out.

    Where prompts are most of the work, it is they that fill the steps of an engine, and the same signs mean nothing.
    """
    told = _tellers(parts)
    if not told or not all(
        one.running_mean >= PINNED * one.running_most
        and one.waiting_mean >= max(1.0, one.running_most / 4)
        and one.kv_cache_most <= ROOMY
        and one.share.prompt_tokens * PREFILL_WEIGHT < one.share.completion_tokens
        for one in told
    ):
        return None
    most, kv_cache = max(one.running_most for one in told), max(one.kv_cache_most for one in told)
    fitting = min(MOST_SEQS, most * SAFE / max(kv_cache, 1e-3))
    wanted = 2 ** int(log2(fitting)) if fitting >= 1 else 0
    if wanted < 2 * most:
        return None
    running, waiting = fmean(one.running_mean for one in told), fmean(one.waiting_mean for one in told)
    text = texts["more_seqs"].format(
        kv=percent(kv_cache), waiting=short(waiting), running=short(running), most=most, wanted=wanted
    )
    return wanted / most, text


def _more_in_flight(parts: Sequence[Part], texts: dict[str, str], limit: int | None) -> Advice | None:
    """All that the user allowed to be out was out all the time, and no server had anything left to do."""
    told = _tellers(parts)
    if not told or limit is None or sum(one.in_flight_mean for one in told) < PINNED * limit:
        return None
    kv_cache = max(one.kv_cache_most for one in told)
    if kv_cache > ROOMY or any(one.waiting_mean >= 0.5 for one in told):
        return None
    return 1 / ROOMY, texts["in_flight"].format(kv=percent(kv_cache), limit=limit)


def _fewer_preemptions(parts: Sequence[Part], texts: dict[str, str]) -> Advice | None:
    full = [one for one in _tellers(parts) if one.kv_cache_most >= FULL and one.preempted is not None]
    times, answers = sum(one.preempted or 0 for one in full), sum(one.share.answers for one in full)
    if not answers or times < ANEW * answers:
        return None
    most = max(one.running_most for one in full)
    return 1 + times / answers / 2, texts["preempted"].format(times=times, answers=answers, most=most)


def _one_out(parts: Sequence[Part], texts: dict[str, str]) -> Advice | None:
    out = [(part.use.out, part.use.reason, part.url) for part in parts if part.use and part.use.out_s >= TELLING_S]
    if not out:
        return None
    share, reason, url = max(out, key=lambda one: one[0])
    if share < OUT:
        return None
    text = texts["out"].format(server=server(url), share=percent(share), reason=_told(reason or ""))
    return len(parts) / max(0.5, len(parts) - share), text


def _one_slow(parts: Sequence[Part], texts: dict[str, str]) -> Advice | None:
    """One server generated far less than the others while it had work; who was out is not slow."""
    speeds = {part.url: speed for part in parts if (speed := _speed(part)) is not None}
    if len(speeds) < 2:
        return None
    url = min(speeds, key=speeds.__getitem__)
    usual = median(speed for other, speed in speeds.items() if other != url)
    if speeds[url] >= SLOW * usual:
        return None
    ratio, total = speeds[url] / usual, sum(speeds.values())
    text = texts["slow"].format(server=server(url), ratio=short(ratio), speed=short(speeds[url]), usual=short(usual))
    return (total - speeds[url] + usual) / total, text


def _speed(part: Part) -> float | None:
    """Return the tokens a second of a server that has been at work for long enough to tell."""
    share, use = part.share, part.use
    if use is None or use.out >= OUT or share.answers < FEWEST_ANSWERS or use.seconds - use.idle_s < TELLING_S:
        return None
    return (share.completion_tokens or share.prompt_tokens) / (use.seconds - use.idle_s)


class _Teller(NamedTuple):
    """What a server has told of itself for long enough, none of it missing."""

    share: Share
    in_flight_mean: float
    running_mean: float
    running_most: int
    waiting_mean: float
    kv_cache_most: float
    preempted: int | None


def _tellers(parts: Sequence[Part]) -> list[_Teller]:
    """Return what those servers have told that did so."""
    told = []
    for share, use in ((part.share, part.use) for part in parts if part.share.answers):
        if (
            use is not None
            and use.observed_s >= TELLING_S
            and use.running_mean is not None
            and use.running_most is not None
            and use.waiting_mean is not None
            and use.kv_cache_most is not None
        ):
            kv_cache, preempted = use.kv_cache_most, use.preempted
            running = use.running_mean, use.running_most
            told.append(_Teller(share, use.in_flight_mean, *running, use.waiting_mean, kv_cache, preempted))
    return told
