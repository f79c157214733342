"""Which language the console and the reports speak. Knows no sentence: each module that speaks keeps its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal, TypeGuard, get_args

Lang = Literal["en", "zh"]
LANGS: tuple[Lang, ...] = get_args(Lang)


def is_lang(value: str) -> TypeGuard[Lang]:
    return value in LANGS


def language(flag: str | None = None, environ: Mapping[str, str] | None = None) -> Lang:
    """Return the language to speak: the flag, `ANALYZE_LANG`, else the locale (zh_* is Chinese), else English.

    Raises UsageError for a flag or `ANALYZE_LANG` that is neither `en` nor `zh`.
    """
    from analyze.errors import UsageError

    environ = os.environ if environ is None else environ
    for source, value in (("--lang", flag), ("ANALYZE_LANG", environ.get("ANALYZE_LANG"))):
        if value:
            if not is_lang(value):
                raise UsageError(f"{source}={value!r} is not a language spoken here", cure="use en or zh")
            return value
    locale = next((environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environ.get(name)), "")
    return "zh" if locale.lower().startswith("zh") else "en"
