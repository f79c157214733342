"""How replies are sampled: layers of settings, each over the one before, and where every value came from.

    built-in < configs/default_sampling_params.json < configs/<task>/sampling_params.json < flags
Names are those of vLLM. What is not known, or cannot be, is an error that names file and key: a misspelt `max_token`
would be ignored silently by a server. Knows no request.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyze.errors import InputError, UsageError
from analyze.files import input_errors
from analyze.records import from_json

FILE = "sampling_params.json"
DEFAULT_FILE = "default_sampling_params.json"
BUILT_IN_NAME = "built-in"
FLAGS_NAME = "flags"

BUILT_IN: Mapping[str, Any] = {
    "temperature": 0.0,
    "top_p": 1.0,
    "top_k": -1,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "max_tokens": 2048,
}
"""All that a model's own repository could set otherwise is said, so that no server fills it in; and `max_tokens`,
which vLLM takes for 16 where a prompt is plain text."""

OTHER_NAMES = {
    "max_new_tokens": "max_tokens",
    "max_length": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "num_return_sequences": "n",
    "best_of": "n",
    "stop_strings": "stop",
    "stop_words": "stop",
    "eos_token_id": "stop_token_ids",
    "do_sample": "temperature",
}


def _number(least: float, most: float = float("inf")) -> Callable[[Any], str | None]:
    wish = f"a number from {least:g}" + ("" if most == float("inf") else f" to {most:g}")

    def problem(value: Any) -> str | None:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return None if is_number and least <= value <= most else wish

    return problem


def _share(value: Any) -> str | None:
    is_right = _number(0, 1)(value) is None and value > 0
    return None if is_right else "a number above 0, up to 1"


def _whole(least: int) -> Callable[[Any], str | None]:
    def problem(value: Any) -> str | None:
        fits = isinstance(value, int) and not isinstance(value, bool) and value >= least
        return None if fits else f"a whole number from {least} up"

    return problem


def _stop(value: Any) -> str | None:
    texts = [value] if isinstance(value, str) else value
    if isinstance(texts, list) and len(texts) <= 4 and all(isinstance(text, str) and text for text in texts):
        return None
    return "a text, or a list of up to four"


def _token_ids(value: Any) -> str | None:
    fits = isinstance(value, list) and all(isinstance(one, int) and one >= 0 for one in value)
    return None if fits else "a list of token numbers"


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "true or false"


def _object(value: Any) -> str | None:
    return None if isinstance(value, dict) else "an object"


KNOWN: Mapping[str, Callable[[Any], str | None]] = {
    "temperature": _number(0, 2),
    "top_p": _share,
    "top_k": _whole(-1),
    "min_p": _number(0, 1),
    "repetition_penalty": _number(0.01),
    "presence_penalty": _number(-2, 2),
    "frequency_penalty": _number(-2, 2),
    "max_tokens": _whole(1),
    "min_tokens": _whole(0),
    "n": _whole(1),
    "seed": _whole(0),
    "stop": _stop,
    "stop_token_ids": _token_ids,
    "ignore_eos": _flag,
    "skip_special_tokens": _flag,
    "include_stop_str_in_output": _flag,
    "structured_outputs": _object,
    "chat_template_kwargs": _object,
}
"""What may be set, and what is wrong with a value: what it should have been, None where it is right."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Settings from one place."""

    name: str
    values: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Raise UsageError for a name that is not known, and a value that cannot be."""
        for key, value in self.values.items():
            if key not in KNOWN:
                raise UsageError(f"{self.name}: {key!r} is no sampling parameter", cure=_meant(key))
            if (wish := KNOWN[key](value)) is not None:
                raise UsageError(f"{self.name}: the sampling parameter {key} is {value!r}", cure=f"it must be {wish}")


def _meant(key: str) -> str:
    close = OTHER_NAMES.get(key) or next(iter(difflib.get_close_matches(key, KNOWN, 1)), None)
    return f"write {close}" if close else f"one of {', '.join(KNOWN)}"


@dataclass(frozen=True, slots=True)
class Sampling:
    """The layers, the lowest first."""

    layers: Sequence[Layer]

    def __post_init__(self) -> None:
        """Raise UsageError for values that cannot be together."""
        values = self.values
        if values.get("n", 1) > 1 and values["temperature"] == 0:
            raise UsageError(
                f"{self.source('n')}: n is {values['n']}, but at temperature 0 all replies are the same",
                cure="give a temperature above 0, or n 1",
            )
        if values.get("min_tokens", 0) > values["max_tokens"]:
            raise UsageError(
                f"{self.source('min_tokens')}: min_tokens is {values['min_tokens']}, "
                f"more than max_tokens, which is {values['max_tokens']} ({self.source('max_tokens')})",
                cure="give fewer min_tokens, or more max_tokens",
            )

    @property
    def values(self) -> dict[str, Any]:
        """What holds: of each name the value of the highest layer that has it."""
        merged: dict[str, Any] = {}
        for layer in self.layers:
            merged |= layer.values
        return merged

    def source(self, key: str) -> str:
        """Return the name of the layer that a value comes from."""
        return next((layer.name for layer in reversed(self.layers) if key in layer.values), BUILT_IN_NAME)

    def record(self) -> dict[str, Any]:
        """Return what is written down: what holds, and each layer."""
        return {
            "sampling": self.values,
            "sampling_layers": [{"from": layer.name, "values": dict(layer.values)} for layer in self.layers],
        }


def read_sampling(default: Path | None, task: Path | None, flags: Mapping[str, Any]) -> Sampling:
    """Read the layers; a file that is not there is none. Raises InputError, UsageError."""
    files = [Layer(str(path), _read(path)) for path in (default, task) if path is not None and path.exists()]
    given = {name: value for name, value in flags.items() if value is not None}
    return Sampling((Layer(BUILT_IN_NAME, BUILT_IN), *files, *([Layer(FLAGS_NAME, given)] if given else [])))


def _read(path: Path) -> Mapping[str, Any]:
    name = str(path)
    with input_errors(name):
        raw = path.read_bytes()
    try:
        values = from_json(raw.removeprefix(b"\xef\xbb\xbf"))
    except ValueError as error:
        raise InputError(f"no JSON: {error}", path=name, cure="correct it") from error
    if not isinstance(values, dict):
        raise InputError("holds no object", path=name, cure='write {"temperature": 0.7, "max_tokens": 512}')
    return values


NEUTRAL: Mapping[str, Any] = {
    "top_p": 1.0,
    "top_k": (-1, 0),
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "min_tokens": 0,
    "n": 1,
    "ignore_eos": False,
    "skip_special_tokens": True,
    "include_stop_str_in_output": False,
}
"""Values that change nothing."""


def without_neutral(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that change something."""
    return {name: value for name, value in values.items() if not _is_neutral(name, value)}


def _is_neutral(name: str, value: Any) -> bool:
    neutral = NEUTRAL.get(name)
    return neutral is not None and (value in neutral if isinstance(neutral, tuple) else value == neutral)


def refuse_beyond(sampling: Sampling, granted: Sequence[str] | frozenset[str] | set[str], engine: str) -> None:
    """Raise UsageError for a value that this engine cannot honour; none is ever ignored."""
    for name in without_neutral(sampling.values):
        if name not in granted:
            raise UsageError(
                f"{sampling.source(name)}: {name} cannot be granted by --model_type {engine}",
                cure=f"leave {name} out, or --model_type vllm",
            )
