"""What is measured of one piece of code, and its JSON. Knows no analyser and gives no opinion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

Severity = Literal["low", "medium", "high"]
MESSAGE_CHARS = 200


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark of an analyser: its rule, its sentence, the line (1-based), and for security how bad it is."""

    line: int
    code: str
    message: str
    severity: Severity | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """The measured facts of one solution. None means not measured, never zero; `limits` says where an analyser gave up.

    `lines` counts every line, `code_lines` those that hold code, `comment_lines` those that hold only comment or
    docstring. `functions` includes methods. `max_complexity` is the largest cyclomatic complexity of a function, or
    of the code outside functions where that branches. `loop_depth` is how deep loops stand in each other.
    """

    language: str
    lines: int
    code_lines: int
    comment_lines: int = 0
    tokens: int = 0
    functions: int = 0
    max_complexity: int | None = None
    mean_complexity: float | None = None
    longest_function_lines: int | None = None
    max_parameters: int | None = None
    loop_depth: int | None = None
    syntax_ok: bool | None = None
    lint: tuple[Finding, ...] = ()
    security: tuple[Finding, ...] = ()
    duplicated_lines: int = 0
    limits: tuple[str, ...] = ()

    @property
    def linted(self) -> bool:
        """Whether ruff read this code to its end: no finding then means none, rather than not looked."""
        return self.language == "python" and self.syntax_ok is True and not self.gave_up("ruff")

    @property
    def scanned(self) -> bool:
        """Whether bandit read this code to its end."""
        return self.language == "python" and self.syntax_ok is True and not self.gave_up("bandit")

    def gave_up(self, analyser: str) -> bool:
        return any(limit.startswith((f"{analyser}:", "size:")) for limit in self.limits)


_FIELDS = {field.name for field in fields(Facts)}


def one_line(message: str) -> str:
    """Return an analyser's sentence as records keep it: one line, no control characters, at most 200 characters."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in message).split())[:MESSAGE_CHARS]


def to_json(facts: Facts) -> dict[str, Any]:
    """Return the facts as a JSON object; `from_json` gives them back."""
    return {
        **asdict(facts),
        "lint": [asdict(finding) for finding in facts.lint],
        "security": [asdict(finding) for finding in facts.security],
        "limits": list(facts.limits),
    }


def from_json(value: Mapping[str, Any]) -> Facts:
    """Return the facts that `to_json` wrote. Keys of a later version are passed over."""
    listed = {
        "lint": tuple(Finding(**finding) for finding in value.get("lint", ())),
        "security": tuple(Finding(**finding) for finding in value.get("security", ())),
        "limits": tuple(value.get("limits", ())),
    }
    return Facts(**{name: value[name] for name in _FIELDS & value.keys()} | listed)
