"""`ask_many` and `aask_many`, from a script, a coroutine, a notebook's running loop, with any client."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator

import openai
import pytest

import analyze
from analyze import Answer, ChatRequest, Failure, MultiVLLMClient, aask_many, ask_many
from analyze.errors import InputError, MixedRunError, NoServerError, UsageError
from analyze.runs.tail import SHARE
from tests.fake_vllm import FakeVLLM, free_port


def chat(number: int) -> ChatRequest:
    return ChatRequest([{"role": "user", "content": f"question {number}"}], id=str(number))


def urls(fleet: list[FakeVLLM]) -> list[str]:
    return [server.url for server in fleet]


def test_each_request_becomes_one_answer_spread_over_the_servers(fleet):
    for server in fleet:
        server.delay_s = 0.1
    outcomes = list(ask_many((chat(n) for n in range(100)), MultiVLLMClient(urls(fleet))))
    assert {outcome.id for outcome in outcomes} == {str(n) for n in range(100)}
    assert all(isinstance(outcome, Answer) and outcome.text == "hello" for outcome in outcomes)
    assert {outcome.instance for outcome in outcomes} == set(urls(fleet))
    assert 100 <= sum(server.asked for server in fleet) <= 100 * (1 + SHARE), "the last rows may be asked twice"
    assert min(server.asked for server in fleet) >= 10


def test_plain_objects_are_requests_too_and_name_their_url(fleet):
    body = {"messages": [{"role": "user", "content": "hi"}]}
    one = [
        {"id": "a", "body": body},
        {"body": body},
        {"custom_id": "c", "url": "/v1/completions", "body": {"prompt": "x"}},
    ]
    outcomes = {outcome.id: outcome for outcome in ask_many(one, MultiVLLMClient(urls(fleet)))}
    assert set(outcomes) >= {"a", "c"} and len(outcomes) == 3


async def test_it_streams_out_while_an_endless_input_streams_in(fleet):
    async def endless() -> AsyncIterator[ChatRequest]:
        for number in itertools.count():
            yield chat(number)

    seen = 0
    stream = aask_many(endless(), MultiVLLMClient(urls(fleet)), in_flight=8)
    async for _ in stream:
        seen += 1
        if seen == 50:
            break
    await stream.aclose()
    assert sum(server.asked for server in fleet) <= 50 + 2 * 8 + 1


async def test_the_sync_form_works_inside_a_running_loop_as_in_a_notebook(fleet):
    assert len(list(ask_many([chat(1), chat(2)], MultiVLLMClient(urls(fleet))))) == 2


def test_a_journal_remembers_and_asks_nothing_twice(fleet, tmp_path):
    client, journal = MultiVLLMClient(urls(fleet)), tmp_path / "j.jsonl"
    assert len(list(ask_many([chat(n) for n in range(10)], client, journal=journal))) == 10
    assert len(list(ask_many([chat(n) for n in range(12)], client, journal=journal))) == 2
    assert sum(server.asked for server in fleet) == 12
    with pytest.raises(MixedRunError, match="3"):
        list(ask_many([ChatRequest([{"role": "user", "content": "other"}], id="3")], client, journal=journal))


def test_what_cannot_be_asked_is_told_with_its_number(fleet):
    with pytest.raises(InputError, match="request 2"):
        list(ask_many([chat(1), {"id": "x"}], MultiVLLMClient(urls(fleet))))


def test_failures_come_as_failures(fleet):
    for server in fleet:
        server.mode = "400"
    (outcome,) = ask_many([chat(1)], MultiVLLMClient(urls(fleet)))
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.transient, outcome.message) == ("invalid", False, "told to say 400")


@pytest.mark.parametrize(("mode", "kind"), [("502", "server"), ("garbage", "server"), ("abort", "server")])
def test_servers_at_fault_are_a_transient_failure(fleet, mode, kind):
    for server in fleet:
        server.mode = mode
    (outcome,) = ask_many([chat(1)], MultiVLLMClient(urls(fleet)))
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.transient) == (kind, True)


def test_one_garbling_server_is_made_good_by_the_others(fleet):
    fleet[0].mode, fleet[1].mode = "garbage", "abort"
    outcomes = list(ask_many([chat(n) for n in range(40)], MultiVLLMClient(urls(fleet))))
    assert all(isinstance(outcome, Answer) for outcome in outcomes)


def test_any_client_of_the_openai_shape_will_do(fleet):
    client = openai.OpenAI(base_url=fleet[0].url, api_key="x", max_retries=0)
    outcomes = list(ask_many([chat(n) for n in range(5)], client, model="fake-model"))
    assert [outcome.text for outcome in outcomes if isinstance(outcome, Answer)] == ["hello"] * 5


async def test_an_async_client_will_do_too(fleet):
    client = openai.AsyncOpenAI(base_url=fleet[0].url, api_key="x", max_retries=0)
    outcomes = [outcome async for outcome in aask_many([chat(1)], client, model="fake-model")]
    assert isinstance(outcomes[0], Answer)


def test_no_server_is_an_error_before_anything_is_asked():
    with pytest.raises(NoServerError, match=r"start_vllm\.sh"):
        list(ask_many([chat(1)], MultiVLLMClient([f"http://127.0.0.1:{free_port()}/v1"])))


def test_servers_of_different_models_are_refused_unless_one_is_chosen(fleet):
    fleet[3].model = "other"
    client = MultiVLLMClient(urls(fleet))
    with pytest.raises(UsageError, match="other"):
        list(ask_many([chat(1)], client))
    outcomes = list(ask_many([chat(n) for n in range(8)], client, model="fake-model"))
    assert len(outcomes) == 8 and fleet[3].asked == 0


def test_every_public_name_is_there():
    for name in analyze.__all__:
        assert getattr(analyze, name) is not None
    assert set(dir(analyze)) == set(analyze.__all__)


def test_a_plain_client_is_asked_as_often_at_once_as_is_wanted(fleet):
    def go_on() -> None:
        give_up_at = time.monotonic() + 60
        while fleet[0].peak < 32 and time.monotonic() < give_up_at:
            time.sleep(0.01)
        fleet[0].mode = "ok"

    fleet[0].mode = "endless"
    threading.Thread(target=go_on, daemon=True).start()  # when as many are out as are wanted
    client = openai.OpenAI(base_url=fleet[0].url, api_key="x", max_retries=0)
    assert len(list(ask_many((chat(n) for n in range(64)), client, model="fake-model", in_flight=32))) == 64
    assert fleet[0].peak == 32


def test_what_a_foreign_client_raises_is_that_rows_failure_not_the_runs_end():
    class Odd:
        class chat:
            class completions:
                @staticmethod
                def create(**body: object) -> dict[str, object]:
                    raise ConnectionError("no line")

    (outcome,) = ask_many([chat(1)], Odd())
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.message) == ("server", "ConnectionError: no line")


def test_ctrl_c_ends_it_with_keyboard_interrupt_and_leaves_no_lock_behind(fleet, tmp_path):
    fleet[0].delay_s = 0.3
    code = f"""
import threading
from analyze import ChatRequest, MultiVLLMClient, ask_many
requests = (ChatRequest([{{"role": "user", "content": str(n)}}]) for n in range(1000))
try:
    for outcome in ask_many(requests, MultiVLLMClient([{fleet[0].url!r}]), journal="j.jsonl", in_flight=4):
        pass
except KeyboardInterrupt:
    print("interrupted", threading.active_count())
"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, text=True, stdout=-1, stderr=-1)
    while fleet[0].asked < 8:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=120) == ("interrupted 1\n", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["j.jsonl", "j.jsonl.run.json"]


def test_rows_are_asked_as_the_client_would_with_its_key_headers_and_timeout(fleet):
    fleet[1].mode = "hang"
    client = MultiVLLMClient(
        urls(fleet[:2]), api_key="secret", default_headers={"x-team": "blue"}, timeout=5.0, policy="least_loaded"
    )
    outcomes = list(ask_many((chat(n) for n in range(6)), client.with_options(max_retries=1), model="fake-model"))
    assert all(isinstance(outcome, Answer) and outcome.instance == fleet[0].url for outcome in outcomes)
    asked = [headers for headers in fleet[0].headers if headers.get("Content-Type") == "application/json"]
    assert {headers["x-team"] for headers in asked} == {"blue"}
    assert {headers["Authorization"] for headers in fleet[0].headers} == {"Bearer secret"}
