"""What is asked about a text: a prompt with a place for it, the labels in it. Knows no server and no reply.

The part that all texts share comes first and is the same to the byte: it is computed once by a server that caches
prefixes. The text itself goes in last, as data: never as part of the prompt's own markup, and never as a control token
of a chat template (`inert`). Where letters are to be read (`letters`), the options stand in the shared part too, and
only a few words that ask for the letter come behind the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from analyze.classify.labels import DEFAULT, Label, Labels
from analyze.files import input_errors, strictness, text_encoding
from analyze.inert import inert
from analyze.lang import Lang

PLACE = "{query}"

_SUFFIX: dict[Lang, str] = {"en": "", "zh": ".zh"}
_TASKS: dict[tuple[Lang, bool], str] = {
    ("en", False): "Give the text exactly one of these labels.",
    ("en", True): "Decide for each of these labels whether the text has it. It may have several, or none.",
    ("zh", False): "请从以下标签中为文本选出一个。",
    ("zh", True): "请逐一判断文本是否具有以下标签；可以有多个，也可以没有。",
}
_EXAMPLE: dict[Lang, str] = {"en": "for example", "zh": "例如"}
_OPTIONS: dict[Lang, tuple[str, str]] = {
    "en": ("Options", "Answer with the letter of one option only, and nothing else: {form}"),
    "zh": ("选项", "只回答一个选项的字母，不要写其他内容：{form}"),
}

NO_THINKING: Mapping[str, Any] = {"chat_template_kwargs": {"enable_thinking": False}}
"""Fields of a request by which models that think aloud are asked not to."""


def packaged(name: str) -> str:
    """Return a text that comes with the program."""
    return files("analyze.classify").joinpath("prompts", name).read_text(encoding="utf-8")


def default_prompt(labels: Labels, lang: Lang, *, letters: str = "") -> str:
    """Return the prompt for these labels: the seed's for its two, else one that lists them.

    With `letters`, one for each label, it asks for the letter of a label.
    """
    if labels.names == DEFAULT and not labels.multi and not any(label.description for label in labels.all):
        return packaged(f"{'classify_letters' if letters else 'classify_prompt'}{_SUFFIX[lang]}.txt")
    form = _any_of(labels, letters) if letters else labels.reply(labels.names[:1])
    parts = {"{task}": _TASKS[lang, labels.multi], "{labels}": _list(labels, lang, letters), "{form}": form}
    text = packaged(f"{'letters' if letters else 'labels'}{_SUFFIX[lang]}.txt")
    before, _, after = text.partition(PLACE)
    for place, part in parts.items():
        before = before.replace(place, part)
    return f"{before}{PLACE}{after}"


def with_options(prompt: str, labels: Labels, lang: Lang, letters: str) -> str:
    """Return a user's own prompt with the labels' letters before it, and the wish for one behind it."""
    head, wish = _OPTIONS[lang]
    asking = prompt if PLACE in prompt else f"{prompt.rstrip()}\n\n{PLACE}"
    listed = f"{head}\n{_list(labels, lang, letters)}"
    return f"{listed}\n\n{asking.rstrip()}\n\n{wish.format(form=_any_of(labels, letters))}"


def _any_of(labels: Labels, letters: str) -> str:
    return ", ".join(letters[: len(labels.names)])


def _list(labels: Labels, lang: Lang, letters: str) -> str:
    marks = [f"{letter}." for letter in letters[: len(labels.names)]] or ["-"] * len(labels.names)
    return "\n".join(f"{mark} {_listed(label, lang)}" for mark, label in zip(marks, labels.all, strict=True))


def _listed(label: Label, lang: Lang) -> str:
    described = f"{label.name}: {label.description}" if label.description else label.name
    examples = "".join(f"\n  {_EXAMPLE[lang]}: {example}" for example in label.examples)
    return f"{described}{examples}"


def read_prompt(path: str | Path) -> str:
    """Return a user's own prompt. Raises InputError."""
    name = str(path)
    with input_errors(name), open(name, "rb") as file:
        encoding = text_encoding(file, name)
        return file.read().decode(encoding, strictness(encoding))


def messages(prompt: str, text: str) -> list[dict[str, str]]:
    """Return the chat that asks about one text: `{query}` in the prompt stands for it, else it comes at the end."""
    before, place, after = prompt.partition(PLACE)
    text = inert(text)
    content = f"{before}{text}{after}" if place else f"{prompt.rstrip()}\n\n{text}"
    return [{"role": "user", "content": content.rstrip()}]


def sampling(temperature: float, max_tokens: int) -> Mapping[str, Any]:
    """Return the fields of a request that say how it is answered. Models that think aloud are asked not to."""
    return {"temperature": temperature, "max_tokens": max_tokens, **NO_THINKING}
