"""MultiVLLMClient and AsyncMultiVLLMClient, as a user of the OpenAI SDK sees them, over real sockets."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from aiohttp import web
from pydantic import BaseModel

from analyze.core import Core
from analyze.errors import UsageError
from analyze.multi_vllm import AsyncMultiVLLMClient, MultiVLLMClient, create_multi_vllm_client
from analyze.records import Answer
from analyze.settings import SINGLE_UNAVAILABLE_TIMEOUT_S
from tests.fake_vllm import FakeVLLM, free_port

HELLO = [{"role": "user", "content": "Hello!"}]


def client_of(fleet: list[FakeVLLM]) -> MultiVLLMClient:
    return MultiVLLMClient([server.url for server in fleet])


def assert_all_given_back(core: Core) -> None:
    deadline = time.monotonic() + 60
    while sum(instance.in_flight for instance in core.fleet.instances):
        assert time.monotonic() < deadline, core.fleet
        time.sleep(0.01)


def wait_for(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


def ask(client: openai.OpenAI) -> str | None:
    return client.chat.completions.create(model="fake-model", messages=HELLO).choices[0].message.content


def test_it_is_an_openai_client_and_answers_like_one(fleet):
    with client_of(fleet) as client:
        assert isinstance(client, openai.OpenAI)
        assert ask(client) == "hello"
        assert client.models.list().data[0].id == "fake-model"


def test_one_request_at_a_time_rotates_strictly(fleet):
    order = []
    for number, server in enumerate(fleet):

        async def handler(request, body, number=number, server=server):
            order.append(number)
            server.handler, kept = None, server.handler
            try:
                return await server._answer(request, body)
            finally:
                server.handler = kept

        server.handler = handler
    with client_of(fleet) as client:
        for _ in range(9):
            ask(client)
    assert order == [0, 1, 2, 3, 0, 1, 2, 3, 0]


def test_under_load_nobody_is_sent_work_while_another_stands_idle(fleet):
    for server in fleet:
        server.mode = "endless"
    with client_of(fleet) as client, ThreadPoolExecutor(64) as pool:
        asked = pool.map(lambda _: ask(client), range(64))
        wait_for(lambda: sum(server.asked for server in fleet) == 64)
        for server in fleet:
            server.mode = "ok"
        assert set(asked) == {"hello"}
    assert [server.asked for server in fleet] == [16, 16, 16, 16]


def test_which_instance_answered_is_readable(fleet):
    with client_of(fleet) as client:
        raw = client.chat.completions.with_raw_response.create(model="fake-model", messages=HELLO)
    assert raw.headers["x-analyze-instance"] == fleet[0].url


def test_a_stream_arrives_in_pieces_and_holds_its_load_until_closed(fleet):
    with client_of(fleet) as client:
        stream = client.chat.completions.create(model="fake-model", messages=HELLO, stream=True)
        core = client._client._transport._core
        assert sum(instance.in_flight for instance in core.fleet.instances) == 1
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "hello"
        stream.close()
        assert_all_given_back(core)


def test_a_stream_that_breaks_raises_and_is_not_started_again(fleet):
    for server in fleet:
        server.mode = "cut-stream"
    with client_of(fleet) as client:
        stream = client.chat.completions.create(model="fake-model", messages=HELLO, stream=True)
        with pytest.raises(openai.APIConnectionError):
            list(stream)
    assert sum(server.asked for server in fleet) == 1


def test_parse_returns_the_pydantic_model(fleet):
    class Colour(BaseModel):
        name: str

    for server in fleet:
        server.reply = '{"name": "红"}'
    with client_of(fleet) as client:
        reply = client.chat.completions.parse(model="fake-model", messages=HELLO, response_format=Colour)
    assert reply.choices[0].message.parsed == Colour(name="红")


@pytest.mark.parametrize("mode", ["reset", "half", "500"])
def test_a_server_that_fails_is_passed_over(fleet, mode):
    fleet[1].mode = mode
    with client_of(fleet) as client:
        assert [ask(client) for _ in range(40)] == ["hello"] * 40
    assert fleet[1].asked <= 3


def test_a_server_that_is_gone_costs_nothing_and_comes_back(fleet):
    with client_of(fleet) as client:
        fleet[2].stop()
        assert [ask(client) for _ in range(8)] == ["hello"] * 8
        fleet[2].start()
        before = fleet[2].asked
        deadline = time.monotonic() + 60
        while fleet[2].asked == before:
            assert time.monotonic() < deadline, "the server was not taken back"
            ask(client)
            time.sleep(0.05)


def test_client_errors_are_raised_at_once_and_put_nobody_out(fleet):
    for server in fleet:
        server.mode = "400"
    with client_of(fleet) as client:
        for _ in range(12):
            with pytest.raises(openai.BadRequestError, match="told to say 400"):
                ask(client)
        assert sum(server.asked for server in fleet) == 12
        for server in fleet:
            server.mode = "ok"
        assert ask(client) == "hello"


def test_a_row_that_every_server_fails_is_its_own_fault(fleet):
    for server in fleet:
        server.mode = "500"
    with client_of(fleet) as client:
        with pytest.raises(openai.InternalServerError):
            ask(client)
        assert [server.asked for server in fleet] == [1, 1, 1, 1], "asked once each, and not retried by the SDK"


def test_busy_servers_are_waited_for_not_put_out(fleet):
    for server in fleet:
        server.mode = "503"
    threading.Timer(0.3, lambda: [setattr(server, "mode", "ok") for server in fleet]).start()
    with client_of(fleet) as client:
        assert ask(client) == "hello"


def test_no_server_at_all_is_the_sdks_connection_error_naming_the_addresses():
    url = f"http://127.0.0.1:{free_port()}/v1"
    with (
        MultiVLLMClient([url], unavailable_timeout_s=0.5) as client,
        pytest.raises(openai.APIConnectionError, match=url),
    ):
        ask(client)


def test_a_timeout_is_the_sdks_timeout_and_is_not_multiplied(fleet):
    for server in fleet:
        server.mode = "hang"
    with client_of(fleet) as client, pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=3.0).chat.completions.create(model="fake-model", messages=HELLO)
    assert sum(server.asked for server in fleet) == 1


def test_proxies_and_openai_secrets_in_the_environment_change_nothing(fleet, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "sk-secret")
    with client_of(fleet) as client:
        assert ask(client) == "hello"
    sent = fleet[0].headers[-1]
    assert sent["Authorization"] == "Bearer EMPTY"
    assert "sk-secret" not in str(sent)


def test_the_key_of_these_servers_is_sent(fleet, monkeypatch):
    monkeypatch.setenv("VLLM_API_KEY", "mine")
    with client_of(fleet) as client:
        ask(client)
    assert fleet[0].headers[-1]["Authorization"] == "Bearer mine"


def test_calls_that_a_server_would_remember_are_refused(fleet):
    with client_of(fleet) as client:
        with pytest.raises(UsageError, match="remember"):
            client.responses.retrieve("resp_1")
        with pytest.raises(UsageError, match="remember"):
            client.files.list()


def test_copies_share_the_servers(fleet):
    with client_of(fleet) as client:
        copied = client.with_options(timeout=5).copy(max_retries=0)
        assert isinstance(copied, MultiVLLMClient)
        assert copied.base_urls == client.base_urls
        assert ask(copied) == "hello"


def test_it_works_after_a_fork(fleet):
    with client_of(fleet) as client:
        ask(client)
        child = os.fork()
        if child == 0:
            os._exit(0 if ask(client) == "hello" else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert ask(client) == "hello"


def test_closing_ends_its_thread(fleet):
    before = set(threading.enumerate())
    client = client_of(fleet)
    ask(client)
    client.close()
    assert set(threading.enumerate()) <= before


def test_ports_and_host_fall_back_to_the_environment(monkeypatch):
    monkeypatch.setenv("VLLM_PORTS", "8101,8102")
    monkeypatch.setenv("VLLM_HOST", "gpu-box")
    assert create_multi_vllm_client().base_urls == ("http://gpu-box:8101/v1", "http://gpu-box:8102/v1")
    assert create_multi_vllm_client(ports=[7001]).base_urls == ("http://gpu-box:7001/v1",)
    assert create_multi_vllm_client(host="other").base_urls[0] == "http://other:8101/v1"
    assert MultiVLLMClient("http://a:1,http://b:2").base_urls == ("http://a:1/v1", "http://b:2/v1")


@pytest.mark.parametrize("wrong", [[], ["localhost"], ["ftp://x"]])
def test_an_address_that_is_none_is_told_at_once(wrong):
    with pytest.raises(UsageError):
        MultiVLLMClient(wrong)


async def test_the_async_client_does_the_same(fleet):
    fleet[3].mode = "reset"
    async with AsyncMultiVLLMClient([server.url for server in fleet]) as client:
        assert isinstance(client, openai.AsyncOpenAI)
        replies = await asyncio.gather(
            *(client.chat.completions.create(model="fake-model", messages=HELLO) for _ in range(64))
        )
        assert {reply.choices[0].message.content for reply in replies} == {"hello"}
        stream = await client.chat.completions.create(model="fake-model", messages=HELLO, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "hello"


async def test_cancelled_requests_give_their_load_back(fleet):
    for server in fleet:
        server.mode = "hang"
    async with AsyncMultiVLLMClient([server.url for server in fleet]) as client:
        tasks = [
            asyncio.create_task(client.chat.completions.create(model="fake-model", messages=HELLO)) for _ in range(200)
        ]
        async with asyncio.timeout(60):
            while sum(server.asked for server in fleet) < 200:  # noqa: ASYNC110 - servers live in threads of their own
                await asyncio.sleep(0.01)
        (core,) = client._client._transport._cores.values()
        assert sum(instance.in_flight for instance in core.fleet.instances) == 200
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert [instance.in_flight for instance in core.fleet.instances] == [0, 0, 0, 0]


@pytest.mark.parametrize("client", ["MultiVLLMClient", "AsyncMultiVLLMClient"])
def test_a_client_that_nobody_closes_ends_quietly(fleet, client):
    code = f"""
import asyncio, inspect, analyze
client = analyze.{client}({[server.url for server in fleet]!r})
async def main():
    reply = client.chat.completions.create(model="m", messages=[{{"role": "user", "content": "hi"}}])
    return await reply if inspect.isawaitable(reply) else reply
print(asyncio.run(main()).choices[0].message.content)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")


def test_closing_ends_requests_of_other_threads_with_the_sdks_error(fleet):
    for server in fleet:
        server.mode = "hang"
    client = client_of(fleet)
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(ask, client) for _ in range(8)]
        while sum(server.asked for server in fleet) < 8:
            time.sleep(0.01)
        client.close()
        for future in waiting:
            with pytest.raises(openai.APIConnectionError):
                future.result(timeout=60)


def test_event_loops_that_are_gone_leave_nothing_behind(fleet):
    urls = [server.url for server in fleet]
    code = f"""
import asyncio, os, analyze
client = analyze.AsyncMultiVLLMClient({urls!r})
async def once():
    await client.chat.completions.create(model="m", messages=[{{"role": "user", "content": "hi"}}])
counts = []
for _ in range(20):
    asyncio.run(once())
    counts.append(len(os.listdir("/proc/self/fd")))
print(counts[-1] < counts[1] + 8)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_a_stream_that_is_thrown_away_unread_gives_its_load_back(fleet):
    with client_of(fleet) as client:
        stream = client.chat.completions.create(model="fake-model", messages=HELLO, stream=True)
        core = client._client._transport._core
        assert sum(instance.in_flight for instance in core.fleet.instances) == 1
        del stream
        gc.collect()
        assert_all_given_back(core)


@pytest.mark.parametrize("status", ["429", "503", "500"])
def test_without_retries_exactly_one_request_is_sent(fleet, status):
    for server in fleet:
        server.mode = status
    with MultiVLLMClient([server.url for server in fleet], unavailable_timeout_s=300) as client:
        started = time.monotonic()
        with pytest.raises(openai.APIStatusError):
            ask(client.with_options(max_retries=0))
        assert time.monotonic() - started < 60, "at once, whatever patience there is"
    assert sum(server.asked for server in fleet) == 1


@pytest.mark.parametrize("max_retries", [0, 1, 2])
def test_a_call_is_asked_at_most_once_more_than_max_retries(fleet, max_retries):
    for server in fleet:
        server.mode = "reset"
    client = MultiVLLMClient([server.url for server in fleet], max_retries=max_retries)
    with client, pytest.raises(openai.APIConnectionError):
        ask(client.with_options(timeout=30))
    assert sum(server.asked for server in fleet) == max_retries + 1


async def test_the_async_client_counts_retries_the_same_way(fleet):
    for server in fleet:
        server.mode = "reset"
    async with AsyncMultiVLLMClient([server.url for server in fleet]) as client:
        with pytest.raises(openai.APIConnectionError):
            await client.with_options(max_retries=1).chat.completions.create(model="fake-model", messages=HELLO)
    assert sum(server.asked for server in fleet) == 2


def test_patience_is_the_clients_and_kept_by_its_copies():
    client = MultiVLLMClient([f"http://127.0.0.1:{free_port()}/v1"], unavailable_timeout_s=0.2)
    for asked in (client, client.copy(), client.with_options(timeout=30), client.copy(unavailable_timeout_s=0.1)):
        started = time.monotonic()
        with pytest.raises(openai.APIConnectionError):
            ask(asked)
        assert time.monotonic() - started < SINGLE_UNAVAILABLE_TIMEOUT_S, "which is usual"
    assert client.copy().unavailable_timeout_s == 0.2
    client.close()


@pytest.mark.parametrize(
    "wrong",
    [{"policy": "no"}, {"unavailable_timeout_s": -1}, {"http_client": object()}, {"base_url": "http://x/v1"}],
)
def test_settings_that_cannot_work_are_told_at_once(wrong):
    for client in (MultiVLLMClient, AsyncMultiVLLMClient):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            client(None if "base_url" in wrong else ["http://localhost:1/v1"], **wrong)


def test_requests_of_one_group_go_to_one_server(fleet):
    with MultiVLLMClient([server.url for server in fleet], policy="prefix_affinity") as client:
        for _ in range(8):
            client.chat.completions.create(model="m", messages=HELLO, extra_headers={"x-analyze-group": "g"})
    assert sorted(server.asked for server in fleet) == [0, 0, 0, 8]
    assert not [name for server in fleet for sent in server.headers for name in sent if "analyze" in name.lower()]


@pytest.mark.parametrize("mode", ["reset-after-headers", "reset"])
def test_a_stream_that_breaks_before_its_first_token_is_asked_elsewhere(fleet, mode):
    fleet[0].mode = mode
    with client_of(fleet) as client:
        stream = client.chat.completions.create(model="fake-model", messages=HELLO, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "hello"
    assert [server.asked for server in fleet] == [1, 1, 0, 0]


@pytest.mark.parametrize("key", ["reasoning", "reasoning_content"])
async def test_reasoning_is_kept_apart_from_the_answer(fleet, key):
    thoughts = {"role": "assistant", "content": "42", key: "six by nine"}

    async def handler(request, body):
        if not body.get("stream"):
            choice = {"index": 0, "message": thoughts, "finish_reason": "stop"}
            return web.json_response({"id": "1", "object": "chat.completion", "created": 1, "choices": [choice]})
        chunk = {"id": "1", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": thoughts}]}
        return web.Response(text=f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n", content_type="text/event-stream")

    for server in fleet:
        server.handler = handler
    async with AsyncMultiVLLMClient([server.url for server in fleet]) as client:
        reply = await client.chat.completions.create(model="m", messages=HELLO)
        assert (reply.choices[0].message.content, getattr(reply.choices[0].message, key)) == ("42", "six by nine")
        (chunk,) = [c async for c in await client.chat.completions.create(model="m", messages=HELLO, stream=True)]
        assert getattr(chunk.choices[0].delta, key) == "six by nine"
    assert Answer("1", "a", {"choices": [{"message": thoughts}]}).reasoning == "six by nine"


def test_256_threads_share_one_client_and_leave_nothing(fleet, monkeypatch):
    monkeypatch.setattr("analyze.watch.SILENT_S", 120.0)  # a fake server waits its turn among as many threads
    before = set(threading.enumerate())
    with client_of(fleet) as client:
        with ThreadPoolExecutor(256) as pool:
            assert set(pool.map(lambda _: ask(client), range(1024))) == {"hello"}
        assert_all_given_back(client._client._transport._core)
    assert sum(server.asked for server in fleet) == 1024
    assert min(server.asked for server in fleet) > 200
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("way", ["close", "async with", "break"])
async def test_streams_left_early_give_their_load_back(fleet, way):
    for server in fleet:
        server.drip_s = 0.2
    async with AsyncMultiVLLMClient([server.url for server in fleet]) as client:
        stream = await client.chat.completions.create(model="fake-model", messages=HELLO, stream=True)
        (core,) = client._client._transport._cores.values()
        assert sum(instance.in_flight for instance in core.fleet.instances) == 1
        if way == "close":
            await stream.close()
        elif way == "async with":
            async with stream:
                await anext(aiter(stream))
        else:
            async for _ in stream:
                break
            del stream
            await asyncio.sleep(0.05)  # in which the loop ends the generators that were broken out of
            gc.collect()
        await asyncio.to_thread(assert_all_given_back, core)


def test_a_forked_child_that_ends_does_not_disturb_requests_of_its_parent(fleet):
    urls = [server.url for server in fleet]
    for server in fleet:
        server.delay_s = 0.2
    code = f"""
import analyze, gc, os, sys
from concurrent.futures import ThreadPoolExecutor
client = analyze.MultiVLLMClient({urls!r}, timeout=60)
def ask(_=0):
    reply = client.chat.completions.create(model="m", messages=[{{"role": "user", "content": "hi"}}])
    return reply.choices[0].message.content
assert [ask() for _ in range(4)] == ["hello"] * 4
pool = ThreadPoolExecutor(16)
asked = pool.map(ask, range(16))
child = os.fork()
if child == 0:
    good = ask() == "hello"
    del client
    gc.collect()
    os._exit(not good)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print(set(asked), ask())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180)
    assert (done.stdout, done.stderr) == ("{'hello'} hello\n", "")


def test_closing_leaves_no_socket(fleet):
    urls = [server.url for server in fleet]
    code = f"""
import analyze, os, threading
def once():
    with analyze.MultiVLLMClient({urls!r}) as client:
        client.chat.completions.create(model="m", messages=[{{"role": "user", "content": "hi"}}])
    return len(os.listdir("/proc/self/fd")), threading.active_count()
once()
print(once() == once())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180)
    assert (done.stdout, done.stderr) == ("True\n", "")
