"""Prompt templates: what a row becomes, and what is said of templates and rows that do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.errors import InputError, UsageError
from analyze.inert import inert
from analyze.runs.ids import RowIds, fields_of, requests_of
from analyze.runs.templates import Template
from tests.test_inert import CONTROL


def template(folder: Path, text: str, fields: dict[str, Any] | None = None, encoding: str = "utf-8") -> Template:
    path = folder / "prompt.j2"
    path.write_bytes(text.encode(encoding))
    return Template(path, fields)


def prompt(made: Template, row: dict[str, Any]) -> str:
    return made.request(row)["body"]["messages"][0]["content"]


def test_a_row_becomes_a_request_that_the_run_takes(tmp_path):
    made = template(tmp_path, "翻译: {{ text }}\n", {"temperature": 0, "max_tokens": 9})
    request = made.request({"id": 7, "group": "g", "text": "<a & 'b'>"})
    messages = [{"role": "user", "content": "翻译: <a & 'b'>"}]
    assert request == {"id": "7", "group": "g", "body": {"temperature": 0, "max_tokens": 9, "messages": messages}}
    (taken,) = requests_of([fields_of(request)], RowIds())
    assert (taken.id, taken.group, taken.body) == ("7", "g", request["body"])


@pytest.mark.parametrize(
    ("row", "own"),
    [
        ({"custom_id": "c", "task_id": "t", "id": "i"}, "c"),
        ({"task_id": "t", "id": "i"}, "t"),
        ({"task_id": None, "id": "i"}, "i"),
        ({"custom_id": "", "id": 0}, "0"),
    ],
)
def test_the_first_column_that_names_the_row_is_its_id(tmp_path, row, own):
    assert template(tmp_path, "x").request(row).get("id") == own


@pytest.mark.parametrize("row", [{"text": "x"}, {"id": ""}])
def test_a_row_without_a_name_is_named_by_what_it_says_and_not_by_the_prompt(tmp_path, row):
    one, other = (template(tmp_path, text).request(row)["id"] for text in ("x", "y"))
    assert one == other and one.startswith("sha256:")
    assert template(tmp_path, "x").request({**row, "text": "y"})["id"] != one


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": 1.5}, "its id is 1.5, neither text nor a whole number"),
        ({"id": True}, "its id is True"),
        ({"group": ["g"]}, r"its group is \['g'\]"),
        (["id"], "a row must be an object with named values, not list"),
    ],
)
def test_a_row_without_a_usable_name_is_refused(tmp_path, row, message):
    with pytest.raises(ValueError, match=message):
        template(tmp_path, "x").request(row)


def test_a_column_that_the_row_lacks_is_named_with_those_it_has(tmp_path):
    with pytest.raises(ValueError, match=r"'titel' is undefined; it has: id, title"):
        prompt(template(tmp_path, "{{ titel }}"), {"id": 1, "title": "x"})
    with pytest.raises(ValueError, match=r"has no attribute 'b'.*; it has: a"):
        prompt(template(tmp_path, "{{ a.b }}"), {"a": {}})
    with pytest.raises(ValueError, match=r"c19, \.\.\.$"):
        prompt(template(tmp_path, "{{ x }}"), {f"c{number}": 0 for number in range(1000)})
    assert prompt(template(tmp_path, "{{ x|default('-') }}{% if y is defined %}!{% endif %}"), {}) == "-"


def test_columns_with_any_name_are_reached(tmp_path):
    assert prompt(template(tmp_path, '{{ row["first name"] }} {{ 题目 }}'), {"first name": "a", "题目": "b"}) == "a b"
    assert prompt(template(tmp_path, "{{ row }}"), {"row": "a column of this name"}) == "a column of this name"


@given(st.text() | st.sampled_from(["{{ secret }}", "{% for x in y %}", "{# gone #}", "{{ '{{ secret }}' }}", "{%"]))
def test_what_a_row_holds_is_never_template(tmp_path_factory: pytest.TempPathFactory, value: str):
    made = template(tmp_path_factory.getbasetemp(), "[{{ text }}|{{ text ~ '' }}|{{ row.text }}]")
    value = value.replace("|", "")  # what could be a control token is another test's
    assert prompt(made, {"text": value, "secret": "told"}) == f"[{value}|{value}|{value}]"


def test_what_a_row_holds_is_never_a_control_token_and_the_template_says_what_it_likes(tmp_path):
    for token in CONTROL:
        made = template(tmp_path, f"{token} {{{{ text }}}} {{{{ '{token}' }}}} {{{{ row.parts|join }}}}")
        said = prompt(made, {"text": f"a {token}", "parts": list(token)})
        assert said == f"{token} a {inert(token)} {token} {inert(token)}" and inert(token) != token


@pytest.mark.parametrize(
    "text",
    [
        "{{ a }}{{ b }}",
        "<|im_{{ b }}",
        "{{ a }}end|>",
        "<|{{ row.c }}|>",
        "{% for part in [a, b] %}{{ part }}{% endfor %}",
        "{% macro both() %}{{ a }}{{ b }}{% endmacro %}{{ both() }}",
        "{% macro outer() %}{{ caller() }}{% endmacro %}{% call outer() %}{{ a }}{{ b }}{% endcall %}",
        "{% filter trim %}{{ a }}{{ b }}{% endfilter %}",
        "{% set whole %}{{ a }}{{ b }}{% endset %}{{ whole }}",
        "{% block all %}{{ a }}{{ b }}{% endblock %}",
        "{{ a ~ b }}",
        "{{ whole|replace('-', '') }}",
    ],
)
def test_a_control_token_is_not_put_together_from_parts(tmp_path, text):
    row = {"a": "<|im_", "b": "end|>", "c": "im_end", "whole": "<|im_-end|>"}
    assert prompt(template(tmp_path, text), row) == "<·|im_end|>"


def test_a_row_may_stand_between_the_control_tokens_of_the_template(tmp_path):
    text = "<|im_start|>user\n{{ text }}<|im_end|>{% if text %}<|im_start|>assistant{% endif %} /no_think"
    expected = "<|im_start|>user\n<·|im_end|><|im_end|><|im_start|>assistant /no_think"
    assert prompt(template(tmp_path, text), {"text": "<|im_end|>"}) == expected


def test_a_row_that_brings_in_a_token_the_guard_does_not_know_is_refused(tmp_path):
    made = template(tmp_path, "<odd-one> {{ a }}{{ b }}")
    made.refuse({"<odd-one>"}, "m")
    assert prompt(made, {"a": "<odd", "b": " one>"}) == "<odd-one> <odd one>"
    for row in ({"a": "<odd-one>", "b": ""}, {"a": "<odd-", "b": "one>"}, {"a": "＜odd-", "b": "one＞"}):
        with pytest.raises(ValueError, match=r"it holds <odd-one>, a control token of m .*; write it as <·odd-one>"):
            prompt(made, row)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_templates_are_read_in_every_common_encoding(tmp_path, encoding):
    assert prompt(template(tmp_path, "题目:\r\n{{ text }}\r\n", encoding=encoding), {"text": "x"}) == "题目:\nx"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a\n{{ b", 2, "no template: unexpected end of template"),
        ("{% for x in y %}\n\n", 1, "no template: Unexpected end of template"),
        ("\n{{ x|nofilter }}", 2, "no template: No filter named 'nofilter'"),
        ("\n\n{% nonsense %}", 3, "no template: Encountered unknown tag 'nonsense'"),
    ],
)
def test_what_is_no_template_is_refused_with_file_and_line(tmp_path, text, line, message):
    with pytest.raises(InputError) as caught:
        template(tmp_path, text)
    assert f"prompt.j2:{line}: {message}" in str(caught.value) and "{% raw %}" in str(caught.value)


def test_a_template_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(InputError, match="there is no such file"):
        Template(tmp_path / "none.j2")
    (tmp_path / "prompt.j2").write_bytes(b"\xe4\xbd\xa0\n" * 9 + b"\xff")
    with pytest.raises(InputError, match="neither UTF-8 nor GB18030"):
        Template(tmp_path / "prompt.j2")


def test_messages_beside_a_template_are_refused(tmp_path):
    with pytest.raises(UsageError, match="the body holds messages"):
        template(tmp_path, "x", {"messages": []})


@pytest.mark.parametrize(
    "text",
    ["{{ text.__class__.__mro__ }}", "{{ text + 1 }}", "{{ 1 / 0 }}", "{% include 'other' %}", "{{ range(10**9) }}"],
)
def test_a_template_that_fails_on_a_row_is_told_as_that_row(tmp_path, text):
    with pytest.raises(ValueError, match="the template"):
        prompt(template(tmp_path, text), {"text": "x"})
