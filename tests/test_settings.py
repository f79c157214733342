"""Settings: what an address, a key, a row's name may be."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from analyze.errors import UsageError
from analyze.runs.ids import RowIds
from analyze.settings import ADDRESSES, VLLM_HOST, VLLM_PORTS, Settings, addresses, api_key, base_url, urls_of_ports


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("http://box:8001", "http://box:8001/v1"),
        ("http://box:8001/", "http://box:8001/v1"),
        ("https://box/api/v1/", "https://box/api/v1"),
        ("http://[::1]:8001", "http://[::1]:8001/v1"),
        (" http://10.0.0.1:8001/v1 ", "http://10.0.0.1:8001/v1"),
    ],
)
def test_an_address_becomes_a_base_url(given, meant):
    assert base_url(given) == meant


@pytest.mark.parametrize(
    "wrong", ["box:8001", "ftp://box", "http://user:pw@box", "http://box:99999", "http://" + "a" * 64, "http://b x", ""]
)
def test_what_is_no_address_is_told_with_a_cure(wrong):
    with pytest.raises(UsageError, match="base URL") as told:
        base_url(wrong)
    assert told.value.cure


def test_an_ipv6_host_gets_its_brackets():
    assert urls_of_ports([8001], "::1") == ("http://[::1]:8001/v1",)


def test_a_key_is_stripped_and_one_that_no_header_can_hold_is_refused():
    assert (api_key(None), api_key(" "), api_key("abc\r\n")) == ("EMPTY", "EMPTY", "abc")
    for wrong in ("a\rb", "密钥"):
        with pytest.raises(UsageError):
            api_key(wrong)


def test_a_flag_beats_the_environment_and_that_the_default():
    resolved = Settings([VLLM_PORTS, VLLM_HOST], {"vllm_ports": "1"}, {"VLLM_PORTS": "2", "VLLM_HOST": "box"})
    assert (resolved[VLLM_PORTS], resolved[VLLM_HOST]) == ("1", "box")
    assert addresses_of(VLLM_ENDPOINTS="http://a:1, http://b:2/v1") == ("http://a:1/v1", "http://b:2/v1")
    several = ["http://a:1,http://b:2/v1", "http://c:3", "http://a:1"]
    assert addresses_of(several, VLLM_PORTS="7") == ("http://a:1/v1", "http://b:2/v1", "http://c:3/v1")
    assert addresses_of(VLLM_PORTS="7,7,8") == ("http://localhost:7/v1", "http://localhost:8/v1")


def addresses_of(flags: Sequence[str] = (), **environ: str) -> tuple[str, ...]:
    return addresses(Settings(ADDRESSES, environ=environ), flags)


def test_row_names_are_never_given_twice_whatever_rows_are_called():
    names = RowIds()
    given = names(["a#2", "a", "a", "a", "a#2", "a#2#2"])
    assert len(set(given)) == len(given)
    assert given[:3] == ["a#2", "a", "a#3"]
