"""What is asked about a text: a prompt with a place for it, the labels in it. Knows no server and no reply.

The part that all texts share comes first and is the same to the byte: it is computed once by a server that caches
prefixes. The text itself goes in last, as data: never as part of the prompt's own markup, and never as a control token
of a chat template (`inert`).
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


def packaged(name: str) -> str:
    """Return a text that comes with the program."""
    return files("analyze.classify").joinpath("prompts", name).read_text(encoding="utf-8")


def default_prompt(labels: Labels, lang: Lang) -> str:
    """Return the prompt for these labels: the seed's for its two, else one that lists them."""
    if labels.names == DEFAULT and not labels.multi and not any(label.description for label in labels.all):
        return packaged(f"classify_prompt{_SUFFIX[lang]}.txt")
    listed = "\n".join(_listed(label, lang) for label in labels.all)
    parts = {"{task}": _TASKS[lang, labels.multi], "{labels}": listed, "{form}": labels.reply(labels.names[:1])}
    text = packaged(f"labels{_SUFFIX[lang]}.txt")
    before, _, after = text.partition(PLACE)
    for place, part in parts.items():
        before = before.replace(place, part)
    return f"{before}{PLACE}{after}"


def _listed(label: Label, lang: Lang) -> str:
    described = f"{label.name}: {label.description}" if label.description else label.name
    examples = "".join(f"\n  {_EXAMPLE[lang]}: {example}" for example in label.examples)
    return f"- {described}{examples}"


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
    return {
        "temperature": temperature,
        "max_tokens": max_tokens,
        "chat_template_kwargs": {"enable_thinking": False},
    }
