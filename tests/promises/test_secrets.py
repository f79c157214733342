"""The key goes to the servers and nowhere else; what strangers write never reaches the terminal as commands."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from tests.promises.conftest import Batch, Row, lines, row, write
from tests.promises.warm import Ended

KEY = "sk-very-secret-0123456789"


def shown(batch: Batch, *ends: Ended) -> str:
    """All that is on the console and in the files."""
    texts = [path.read_text(errors="replace") for path in _files(batch.folder)]
    return "\n".join([*texts, *(end.out + end.err for end in ends)])


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_the_key_is_in_no_file_and_on_no_console(batch: Batch) -> None:
    write(batch.input, [row(number) for number in range(4)])
    for server in batch.servers:
        server.refuse = lambda body: 400 if "2" in str(body) else None
    ends = [batch.run(*flags, VLLM_API_KEY=KEY) for flags in ((), ("--retry-failed",), ("--show-settings",))]
    sent = [headers.get("Authorization") for server in batch.servers for headers in server.headers]
    assert f"Bearer {KEY}" in sent
    assert KEY not in shown(batch, *ends)


def test_not_even_where_a_server_repeats_it(batch: Batch) -> None:
    async def repeat(request: web.Request, body: Row) -> web.Response:
        message = f"Incorrect API key provided: {request.headers['Authorization'].removeprefix('Bearer ')}"
        return web.json_response({"error": {"message": message}}, status=401)

    for server in batch.servers:
        server.handler = repeat
    write(batch.input, [row(1)])
    ended = batch.run(VLLM_API_KEY=KEY)
    assert ended.code == 1, ended.err
    assert lines(batch.failures)[0]["error"]["code"] == "refused"
    assert KEY not in shown(batch, ended)


def test_a_key_in_an_address_is_not_shown(batch: Batch) -> None:
    write(batch.input, [row(1)])
    server = batch.servers[0]
    batch.servers = []
    address = server.url.replace("http://", f"http://user:{KEY}@")
    ended = batch.run("--base-url", address)
    assert KEY not in shown(batch, ended)


def test_the_key_of_openai_is_sent_to_nobody(batch: Batch) -> None:
    write(batch.input, [row(1)])
    ended = batch.run(OPENAI_API_KEY=KEY)
    assert ended.code == 0, ended.err
    assert not any(KEY in str(headers) for server in batch.servers for headers in server.headers)
    assert KEY not in shown(batch, ended)


def test_control_characters_of_rows_models_and_servers_never_reach_the_terminal(batch: Batch) -> None:
    evil = "\x1b[2J\x1b]0;owned\x07\u202e"

    async def say(request: web.Request, body: Row) -> web.Response:
        return web.json_response({"error": {"message": f"no {evil}"}}, status=400)

    for server in batch.servers:
        server.handler = say
    write(batch.input, [{**row(1), "custom_id": f"id {evil}"}])
    first = batch.run()
    write(batch.input, [{**row(2), "custom_id": f"id {evil}"}])
    second = batch.run()
    assert (first.code, second.code) == (1, 2)
    for ended in (first, second):
        assert not set(evil) & set("\x1b\x07\u202e") & set(ended.out + ended.err)
