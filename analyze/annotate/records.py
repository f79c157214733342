"""What is asked of a row, and what is written of it: its record, as a line of the output. The seed's keys come first.

    {"image_path", "caption", "vlm_output", "annotations": {"rationale", "objects"}, "objects", "annotations_error",
     "status", "error", "flags", "coords", "image": {...}, "objects_px", "finish_reason", "repaired", "model",
     "prompt_sha", "usage", further fields of the row, and what a run must know (`runs.lines`): "id", "asked", ...}

`bbox` is whole thousandths of the upright image; `objects_px` has the same boxes in its pixels. `status` is `ok`,
what is wrong with the image (`images.Status`), or why the reply has no objects that can be trusted: `invalid`,
`truncated`, `too_long`, `error`. The line of a reply that cannot be read stands in the output as well, with
`annotations_error` true and the reply as it came; an image without objects is no error.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from analyze.annotate.coordinates import place
from analyze.annotate.families import OTHER, Coords, Family
from analyze.annotate.images import Prepared, Trouble
from analyze.annotate.parsing import Reply, parse_reply
from analyze.annotate.prompts import CAPTION
from analyze.annotate.recorded import OLDER, Recorded, name_in_older_line, relative
from analyze.records import CHAT_URL, Answer, Failure, Outcome, Request, asked_of, from_json
from analyze.runs.inputs import Bad
from analyze.runs.lines import Answered, Heading, RecordLines
from analyze.runs.seen import short

FIRST = "image_path"
PATH_KEYS = (FIRST, "image", "file_name", "path")
CAPTION_KEYS = ("caption", "text")
UNREAD = ("schema", "truncated")
"""Failures that are replies of the model."""

_OLDER_BODY = {"image": OLDER}
_OLDER_ASKED = asked_of(_OLDER_BODY, CHAT_URL)
_STATUS = {"schema": "invalid", "truncated": "truncated", "too_long": "too_long"}
_OURS = frozenset(
    {"caption", "vlm_output", "annotations", "objects", "annotations_error", "status", "error", "flags", "coords"}
    | {FIRST, "image", "objects_px", "finish_reason", "repaired", "model", "prompt_sha", "usage", "row"}
    | {"id", "asked", "failed", "instance", "attempts", "latency_s"}
)


@dataclass(frozen=True, slots=True)
class Picture:
    """One row: where its image is said to be, its caption, and its other fields.

    `name` is its path below the root, `known_as` what tells its file from other versions (`recorded`); `problem` says
    why it cannot be asked about; `made` is the image itself, once it is prepared.
    """

    path: str
    name: str
    caption: str | None
    others: Mapping[str, Any]
    known_as: str
    problem: str | None = None
    made: Prepared | Trouble | None = None


@dataclass(slots=True)
class Convention:
    """What is settled once it is known which model answers."""

    model: str | None = None
    family: Family = OTHER
    coords: Coords = "norm1000"
    prompt_sha: str = ""


@dataclass(slots=True)
class Maker:
    """Makes the request of a row (`runs.rows.RequestMaker`): what it asks, but for the image, which is read later."""

    root: str
    recorded: Sequence[Any]  # the files of records, failures first
    prompt: str
    asks: Mapping[str, Any]
    _known: Recorded | None = field(default=None, init=False)

    def request(self, row: Any, number: int) -> Mapping[str, Any]:
        """Return the request of one row: a path, or an object that has one."""
        own: Mapping[str, Any] = row if isinstance(row, Mapping) else {}
        key = next((key for key in PATH_KEYS if isinstance(own.get(key), str)), None)
        path = row if isinstance(row, str) else own.get(key or FIRST)
        if not isinstance(path, str) or not path.strip():
            return self._unasked(row, self._problem(row), number)
        caption_key = next((key for key in CAPTION_KEYS if isinstance(own.get(key), str)), None)
        others = {name: value for name, value in own.items() if name not in (key, caption_key)}
        name = relative(path, self.root)
        known_as = self._known_as(name)
        caption = None if caption_key is None else own[caption_key]
        body = _OLDER_BODY if known_as == OLDER else self._asks_of(name, known_as, caption)
        return {"id": name, "body": body, "row": Picture(path, name, caption, others, known_as)}

    def _asks_of(self, name: str, known_as: str, caption: str | None) -> Mapping[str, Any]:
        """Return what is asked: the chat with the image's name in the place of the image."""
        told = {"caption": caption} if CAPTION in self.prompt else {}
        image = {"type": "image_url", "image_url": {"url": f"{name} ({known_as})"}}
        content = [image, {"type": "text", "text": self.prompt}]
        return {"messages": [{"role": "user", "content": content}], **self.asks, **told}

    def unusable(self, bad: Bad, number: int) -> Mapping[str, Any]:
        return self._unasked(bad.raw, bad.reason, number)

    def _unasked(self, row: Any, problem: str, number: int) -> Mapping[str, Any]:
        others = row if isinstance(row, Mapping) else {"row": row}
        problem = f"row {number} of the input: {problem}"
        return {"body": {"unusable": row}, "row": Picture("", "", None, others, OLDER, problem)}

    def _problem(self, row: Any) -> str:
        if not isinstance(row, Mapping):
            return f"a row must be a path, or an object that has one, not {type(row).__name__}"
        return f"it has no path in any of {', '.join(PATH_KEYS)}; it has: {', '.join(map(str, row))}"

    def _known_as(self, name: str) -> str:
        if self._known is None:
            self._known = Recorded(self.recorded, self.root)
        return self._known.known_as(name, os.path.join(self.root, name))


class Lines:
    """How records are written and read (`runs.lines.Lines`), those of an older script too."""

    def __init__(self, root: str, convention: Convention) -> None:
        self._root, self._convention = root, convention
        self._own = RecordLines(FIRST, lambda request, outcome: fields_of(request, outcome, self._convention))

    @property
    def begins(self) -> bytes:
        return self._own.begins

    def encode(self, outcome: Outcome, request: Request | None = None) -> bytes:
        return self._own.encode(outcome, request)

    def decode(self, line: bytes) -> Outcome:
        record = from_json(line)
        if "id" in record:
            return self._own.decode(line)
        name = name_in_older_line(record[FIRST], self._root)
        if record.get("annotations_error"):
            return Failure(name, _OLDER_ASKED, "schema", "", raw=record.get("vlm_output"))
        return Answer(name, _OLDER_ASKED, record)

    def heading(self, line: bytes) -> Heading:
        if (told := self._own.answered([line])) is not None:
            ids, asked = told
            return next(iter(ids)), next(iter(asked)), None
        outcome = self.decode(line)
        return outcome.id, short(outcome.asked), None if isinstance(outcome, Answer) else outcome.kind

    def answered(self, lines: Sequence[bytes]) -> Answered | None:
        return self._own.answered(lines)

    def is_output(self, outcome: Outcome) -> bool:
        return isinstance(outcome, Answer) or is_unread(outcome)


def is_unread(failure: Failure) -> bool:
    """Whether the model has replied, and nothing can be made of it."""
    return failure.kind in UNREAD and failure.raw is not None


def reply_of(outcome: Outcome) -> tuple[str, str | None] | None:
    """Return what the model said, and how it ended; None where it said nothing."""
    if isinstance(outcome, Answer):
        return outcome.text, outcome.finish_reason
    return (outcome.raw or "", "length" if outcome.kind == "truncated" else "stop") if is_unread(outcome) else None


def fields_of(request: Request, outcome: Outcome, convention: Convention) -> Mapping[str, Any]:
    """Return the record of a row, without what runs know of it."""
    picture: Picture = request.row
    said = reply_of(outcome)
    raw, finish_reason = said if said is not None else (None, None)
    reply = parse_reply(raw, finish_reason=finish_reason) if said is not None else Reply()
    has_failed = isinstance(outcome, Failure)
    objects, objects_px, flags, coords = _placed(picture, reply, convention)
    told = said is not None and reply.error is None
    others = {key: value for key, value in picture.others.items() if key not in _OURS}
    hidden = {key: value for key, value in picture.others.items() if key in _OURS}
    return {
        FIRST: picture.path,
        "caption": picture.caption,
        "vlm_output": raw,
        "annotations": {"rationale": reply.rationale, "objects": objects} if told else None,
        "objects": objects,
        "annotations_error": has_failed,
        "status": _status(picture, outcome),
        "error": outcome.message if isinstance(outcome, Failure) else None,
        "flags": flags,
        "coords": coords,
        "image": _image(picture),
        "objects_px": objects_px,
        "finish_reason": finish_reason,
        "repaired": "repaired" in reply.flags,
        "model": convention.model,
        "prompt_sha": convention.prompt_sha,
        "usage": _usage(outcome),
        **others,
        **({"row": hidden} if hidden else {}),
    }


def _placed(picture: Picture, reply: Reply, convention: Convention) -> tuple[list[Any], list[Any], list[str], Coords]:
    coords = "norm999" if reply.coords == "norm999" else convention.coords
    made = picture.made
    if not isinstance(made, Prepared):
        return [], [], [*reply.flags], coords
    placed = place(reply.objects, coords, size=made.size, sent=made.sent, is_y_first=convention.family.is_y_first)
    return placed.objects, placed.objects_px, [*dict.fromkeys([*reply.flags, *placed.flags])], coords


def _status(picture: Picture, outcome: Outcome) -> str:
    if isinstance(outcome, Answer):
        return "ok"
    if isinstance(picture.made, Trouble):
        return picture.made.status
    return _STATUS.get(outcome.kind, "error")


def _image(picture: Picture) -> Mapping[str, Any] | None:
    made = picture.made
    if not isinstance(made, Prepared):
        return None if picture.problem is not None else {"known_as": picture.known_as}
    return {
        "width": made.size[0],
        "height": made.size[1],
        "sent": [*made.sent],
        "exif_orientation": made.orientation,
        "format": made.format,
        "bytes": made.bytes,
        "mtime_ns": made.mtime_ns,
        "bytes_sha256": made.sha256,
        "known_as": picture.known_as,
    }


def _usage(outcome: Outcome) -> Mapping[str, Any] | None:
    if isinstance(outcome, Failure):
        return None
    usage = outcome.usage
    return {"prompt": usage.get("prompt_tokens"), "completion": usage.get("completion_tokens")}
