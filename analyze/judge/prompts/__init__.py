"""What the judge is told: template files, one pair (system, user) per version and language. Knows nothing of tasks.

A template is filled in one pass (`string.Template`): inserted text is never read again, so a `$code_a` or a `{{…}}`
inside judged code stays those characters. Text that does not come from us goes through `inert` first.
A changed word is a new version: the digest enters what a run records, and old answers are not mixed with new ones.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from string import Template

from analyze.lang import Lang

PROMPT_VERSION = "v1"


@cache
def template(part: str, lang: Lang) -> Template:
    """Return the template of `part` ("system" or "user") in `lang`, as it stands in its file."""
    name = f"{PROMPT_VERSION}.{lang}.{part}.txt"
    return Template(resources.files(__package__).joinpath(name).read_text(encoding="utf-8"))


@cache
def prompts_sha256(lang: Lang) -> str:
    """Return the SHA-256 of both templates, as the manifest of a run records it."""
    both = "\0".join(template(part, lang).template for part in ("system", "user"))
    return hashlib.sha256(both.encode()).hexdigest()
