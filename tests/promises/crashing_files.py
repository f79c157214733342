"""Every effect of a command on its files, recorded; and every state in which a crash may leave those files.

    the command ──> Layer (in its process, under os and open) ──> the disk
                      └──> a trace: one effect a line ──> Disk ──> states after a crash at each effect

Recorded once, a run gives all its crashes: what a process has done up to its k-th effect does not depend on what comes
later. What a crash leaves:

    killed      all that was done, to the byte, the last write cut anywhere
    power cut   of each file what its last fsync held, and as much as you like of what came later; of each folder the
                names as at its last fsync, and as many of the later changes, in their order

The layer knows nothing of journals. That nothing went round it is shown by `Disk`: played back whole, the trace must
give the files that are there.
"""

from __future__ import annotations

import base64
import builtins
import fcntl
import io
import json
import os
import threading
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Files = dict[str, bytes]
"""The content of a folder, by name."""

BEAT_S = 0.02
"""A process counts its seconds in sleeps of this length: while the machine lets it wait, none goes by."""


# -- in the process that is watched ------------------------------------------------------------------------------------


def record(root: str, trace: str) -> None:
    """From now on, write down in `trace` what this process does to the files in `root`."""
    Layer(root, trace).install()


class Layer:
    """Stands in for the functions through which Python changes files, does what they do, and writes it down.

    A file has a number, which stays the same under whatever name; those that are there at the start are numbered as
    they are met.
    """

    def __init__(self, root: str, trace: str) -> None:
        self._root = os.path.realpath(root)
        self._real = {name: getattr(os, name) for name in ("open", "write", "fstat", "lseek")}
        self._trace = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        self._numbers: dict[int, int] = {}  # by inode
        self._count = 0
        self._lived_s = 0.0
        threading.Thread(target=self._live, daemon=True).start()

    def install(self) -> None:
        for name in ("open", "write", "fsync", "fdatasync", "ftruncate", "truncate", "replace", "rename", "mkdir"):
            setattr(os, name, getattr(self, name)(getattr(os, name)))
        os.unlink = os.remove = self.unlink(os.unlink)  # type: ignore[assignment]
        builtins.open = io.open = self.open_file(io.open)  # type: ignore[assignment]
        for name in ("pwrite", "writev", "pwritev", "sendfile", "copy_file_range", "link", "symlink", "removedirs"):
            setattr(os, name, self._unknown(name))

    # Each of these returns what takes the place of `real`.

    def open(self, real: Any) -> Any:
        def open_(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            name = self._name(path)
            existed = name is not None and os.path.lexists(path)
            fd = real(path, flags, mode, dir_fd=dir_fd)
            if name is not None and not flags & os.O_DIRECTORY:
                if not existed:
                    self._say("create", name=name, file=self._new_number(fd))
                elif flags & os.O_TRUNC:
                    self._say("truncate", file=self._number(fd), name=name, size=0)
                elif flags & (os.O_WRONLY | os.O_RDWR):
                    self._say("open", file=self._number(fd), name=name)
            return fd

        return open_

    def write(self, real: Any) -> Any:
        def write_(fd: int, data: Any) -> int:
            if not self._is_ours(fd):
                return real(fd, data)
            appends = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND
            start = self._real["fstat"](fd).st_size if appends else self._real["lseek"](fd, 0, os.SEEK_CUR)
            written = real(fd, data)
            said = base64.b64encode(bytes(memoryview(data)[:written])).decode()
            self._say("write", file=self._number(fd), start=start, data=said)
            return written

        return write_

    def fsync(self, real: Any) -> Any:
        def fsync_(fd: Any) -> None:
            real(fd)
            number = fd if isinstance(fd, int) else fd.fileno()
            if self._is_ours(number):
                if os.path.isdir(f"/proc/self/fd/{number}"):
                    self._say("sync_folder", name=self._name(os.readlink(f"/proc/self/fd/{number}")))
                else:
                    self._say("sync", file=self._number(number))

        return fsync_

    fdatasync = fsync

    def ftruncate(self, real: Any) -> Any:
        def ftruncate_(fd: int, size: int) -> None:
            real(fd, size)
            if self._is_ours(fd):
                self._say("truncate", file=self._number(fd), size=size)

        return ftruncate_

    def truncate(self, real: Any) -> Any:
        def truncate_(path: Any, size: int) -> None:
            with builtins.open(path, "rb+") as file:
                os.ftruncate(file.fileno(), size)

        return truncate_

    def replace(self, real: Any) -> Any:
        def replace_(old: Any, new: Any, **places: Any) -> None:
            real(old, new, **places)
            if self._name(old) is not None or self._name(new) is not None:
                self._say("rename", name=self._name(old), new=self._name(new))

        return replace_

    rename = replace

    def unlink(self, real: Any) -> Any:
        def unlink_(path: Any, *, dir_fd: int | None = None) -> None:
            real(path, dir_fd=dir_fd)
            if self._name(path) is not None:
                self._say("unlink", name=self._name(path))

        return unlink_

    def mkdir(self, real: Any) -> Any:
        def mkdir_(path: Any, *arguments: Any, **options: Any) -> None:
            real(path, *arguments, **options)
            if self._name(path) is not None:
                raise NotImplementedError("folders in the watched folder are not modelled")

        return mkdir_

    def open_file(self, real: Any) -> Any:
        """`open` for writing goes through the functions above, under the same buffers as ever."""

        def open_file_(
            file: Any,
            mode: str = "r",
            buffering: int = -1,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
            closefd: bool = True,
            opener: Any = None,
        ) -> Any:
            if isinstance(file, int) or not set(mode) & set("wax+") or self._name(file) is None:
                return real(file, mode, buffering, encoding, errors, newline, closefd, opener)
            kind, both = mode.strip("tb+") or "r", "+" in mode
            flags = {"r": 0, "w": os.O_CREAT | os.O_TRUNC, "a": os.O_CREAT | os.O_APPEND, "x": os.O_CREAT | os.O_EXCL}
            flags_here = flags[kind] | (os.O_RDWR if both else os.O_WRONLY) | os.O_CLOEXEC
            fd = os.open(file, flags_here, 0o666) if opener is None else opener(file, flags_here)
            raw = _File(fd, ("r+" if both and kind == "r" else kind.replace("x", "w") + "+" * both))
            raw.name = os.fspath(file)
            if kind == "a":
                raw.seek(0, os.SEEK_END)
            if buffering == 0:
                return raw
            size = buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE
            buffered = io.BufferedRandom(raw, size) if both else io.BufferedWriter(raw, size)
            if "b" in mode:
                return buffered
            return io.TextIOWrapper(buffered, encoding, errors, newline, line_buffering=buffering == 1)

        return open_file_

    def _unknown(self, name: str) -> Any:
        real = getattr(os, name)

        def refuse(*arguments: Any, **options: Any) -> Any:
            if any(self._name(a) for a in arguments if isinstance(a, str | os.PathLike)):
                raise NotImplementedError(f"os.{name} in the watched folder is not modelled")
            return real(*arguments, **options)

        return refuse

    def _name(self, path: Any) -> str | None:
        """Return the path inside the watched folder ("." is the folder itself), None for one outside."""
        if isinstance(path, int):
            path = f"/proc/self/fd/{path}"
        folder, name = os.path.split(os.path.abspath(os.fsdecode(path)))
        whole = os.path.join(os.path.realpath(folder), name)
        inside = whole == self._root or whole.startswith(self._root + os.sep)
        return os.path.relpath(whole, self._root) if inside else None

    def _is_ours(self, fd: int) -> bool:
        return fd > 2 and self._name(os.path.realpath(f"/proc/self/fd/{fd}").removesuffix(" (deleted)")) is not None

    def _number(self, fd: int) -> int:
        inode = self._real["fstat"](fd).st_ino
        return self._numbers[inode] if inode in self._numbers else self._new_number(fd)

    def _new_number(self, fd: int) -> int:
        self._count += 1
        self._numbers[self._real["fstat"](fd).st_ino] = self._count
        return self._count

    def _say(self, kind: str, **fields: Any) -> None:
        line = json.dumps({"kind": kind, "at": time.monotonic(), "lived_s": self._lived_s, **fields}) + "\n"
        self._real["write"](self._trace, line.encode())

    def _live(self) -> None:
        while True:
            time.sleep(BEAT_S)
            self._lived_s += BEAT_S


class _File(io.FileIO):
    """What lies under a buffer: writes and cuts as `os` does, which is watched."""

    def write(self, data: Any) -> int:
        return os.write(self.fileno(), data)

    def truncate(self, size: int | None = None) -> int:
        size = self.tell() if size is None else size
        os.ftruncate(self.fileno(), size)
        return size


# -- what a crash leaves -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Effect:
    """One effect on the files. `at`: time.monotonic of its process; `lived_s`: the seconds that it had had."""

    kind: Literal["open", "create", "write", "truncate", "sync", "sync_folder", "rename", "unlink"]
    at: float
    name: str = ""
    new: str = ""
    file: int = 0
    start: int = 0
    size: int = 0
    data: bytes = b""
    lived_s: float = 0.0

    def half(self) -> Effect:
        return Effect("write", self.at, file=self.file, start=self.start, data=self.data[: len(self.data) // 2])

    def __str__(self) -> str:
        what = self.name or f"file {self.file}"
        return f"{self.kind} {what}{f' -> {self.new}' if self.new else ''}{f' {self.data[:40]!r}' if self.data else ''}"


def read_trace(path: Path) -> list[Effect]:
    """Return the effects that are written down, of a process that still runs too: a last line may be half there."""
    effects = []
    for line in path.read_bytes().rpartition(b"\n")[0].splitlines():
        said = json.loads(line)
        said["data"] = base64.b64decode(said.get("data", ""))
        effects.append(Effect(**said))
    return effects


@dataclass(slots=True)
class _Content:
    """The bytes of a file: those that are safe, and what was done to them since."""

    safe: bytes = b""
    later: list[Effect] = field(default_factory=list)

    def now(self, count: int | None = None) -> bytes:
        """Return the bytes after the first `count` of the later effects."""
        data = bytearray(self.safe)
        for effect in self.later[:count]:
            _apply(effect, data)
        return bytes(data)

    def torn(self) -> bytes:
        """Return all but the second half of the last write."""
        if not self.later or self.later[-1].kind != "write":
            return self.now(-1)
        data = bytearray(self.now(-1))
        _apply(self.later[-1].half(), data)
        return bytes(data)

    def blank(self) -> bytes:
        """Return the bytes with zeros in place of what was written first since the last fsync: blocks reach the disk in
        any order, and what is missing reads as zeros."""
        data = bytearray(self.now())
        write = next((effect for effect in self.later if effect.kind == "write"), None)
        if write is not None:
            end = min(len(data), write.start + len(write.data))
            data[write.start : end] = bytes(max(0, end - write.start))
        return bytes(data)


def _apply(effect: Effect, data: bytearray) -> None:
    if effect.kind == "write":
        if effect.start > len(data):
            data.extend(bytes(effect.start - len(data)))
        data[effect.start : effect.start + len(effect.data)] = effect.data
    else:
        del data[effect.size :]
        data.extend(bytes(effect.size - len(data)))


KEPT = ("lost", "torn", "kept")
"""What may have become of the writes since the last fsync of a file."""


class Disk:
    """A folder as the system shows it, and as a power cut may leave it. Fed with effects, one after the other."""

    def __init__(self, start: Files) -> None:
        self._contents: dict[int, _Content] = {}
        self._names: dict[str, int] = {}  # those that are safe
        self._later: list[Effect] = []  # changes of names since
        for number, (name, data) in enumerate(start.items(), 1):
            self._names[name], self._contents[-number] = -number, _Content(data)
        self._met: dict[int, int] = {}  # numbers of the trace -> ours, of files that were there at the start

    def do(self, effect: Effect) -> None:
        match effect.kind:
            case "open":
                self._meet(effect)
            case "create":
                self._contents[effect.file] = _Content()
                self._later.append(effect)
            case "rename" | "unlink":
                self._later.append(effect)
            case "write" | "truncate":
                self._meet(effect)
                self._content(effect.file).later.append(effect)
            case "sync":
                content = self._content(effect.file)
                content.safe, content.later = content.now(), []
            case "sync_folder":
                self._names, self._later = self._names_after(len(self._later)), []

    def now(self) -> Files:
        """Return what the system shows, and what a killed process leaves."""
        names = self._names_after(len(self._later))
        return {name: self._contents[number].now() for name, number in names.items()}

    def after_power_cut(self, *, blanks: bool = False) -> Iterator[tuple[str, Files]]:
        """Yield what a power cut may leave, each with a word on it: all names from the last fsync of the folder on, and
        for each of them all files alike or one file unlike the others. `blanks`: zeros too, in place of lost blocks."""
        kept = ("blank",) if blanks else KEPT
        for count in range(len(self._later) + 1):
            names = self._names_after(count)
            dirty = [name for name, number in names.items() if self._contents[number].later]
            said = f"{count} of {len(self._later)} names"
            for usual in ("lost", "kept"):
                yield f"{said}, all {usual}", self._files(names, usual)
                for name in dirty:
                    for own in kept:
                        yield f"{said}, all {usual}, {name} {own}", self._files(names, usual, {name: own})

    def _files(self, names: dict[str, int], usual: str, but: dict[str, str] | None = None) -> Files:
        return {name: self._as(number, (but or {}).get(name, usual)) for name, number in names.items()}

    def _as(self, number: int, kept: str) -> bytes:
        content = self._contents[number]
        if kept == "lost":
            return content.safe
        return {"torn": content.torn, "blank": content.blank, "kept": content.now}[kept]()

    def _names_after(self, count: int) -> dict[str, int]:
        names = dict(self._names)
        for effect in self._later[:count]:
            if effect.kind == "create":
                names[effect.name] = effect.file
            elif effect.kind == "unlink":
                names.pop(effect.name, None)
            else:
                names[effect.new] = names.pop(effect.name)
        return names

    def _meet(self, effect: Effect) -> None:
        if effect.name and effect.file not in self._contents and effect.file not in self._met:
            self._met[effect.file] = self._names_after(len(self._later))[effect.name]

    def _content(self, number: int) -> _Content:
        return self._contents[self._met.get(number, number)]


@dataclass(frozen=True, slots=True)
class Crash:
    """One way in which a run may have been cut off: when, how, and what it leaves."""

    effect: int  # how many effects were done
    at: float  # the time of the one that was not, or not wholly
    how: str
    files: Files
    is_power_cut: bool

    def __str__(self) -> str:
        return f"before effect {self.effect}: {self.how}"


def crashes(start: Files, trace: list[Effect], *, blanks: bool = False) -> Iterator[Crash]:
    """Yield all crashes of a run that began with the files `start`; of those that leave the same, the first.

    What a lock file holds makes no difference: it is the kernel that knows who holds the lock.
    """
    disk, seen = Disk(start), set()
    for number in range(len(trace) + 1):
        upcoming = trace[number] if number < len(trace) else None
        at, said = (upcoming.at, str(upcoming)) if upcoming else (float("inf"), "the end")
        states = [("killed", disk.now(), False)]
        if upcoming is not None and upcoming.kind == "write":
            cut = deepcopy(disk)
            cut.do(upcoming.half())
            states.append(("killed in the middle", cut.now(), False))
        states += [(how, files, True) for how, files in disk.after_power_cut(blanks=blanks)]
        for how, files, is_power_cut in states:
            key = tuple((name, "" if name.endswith(".lock") else files[name]) for name in sorted(files))
            if key not in seen:
                seen.add(key)
                yield Crash(number, at, f"{said}: {how}", files, is_power_cut)
        if upcoming is not None:
            disk.do(upcoming)


def files_in(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def put_files(folder: Path, files: Files) -> None:
    """Make the folder hold these files and nothing else."""
    for path in folder.iterdir():
        path.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)
