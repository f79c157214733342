"""The bytes of an input: counted and hashed as they are stored, unpacked where they are packed. Not what they mean."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from io import BufferedIOBase, BufferedReader, RawIOBase
from typing import TYPE_CHECKING, Any, BinaryIO

from analyze.errors import InputError
from analyze.files import CHUNK_BYTES

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNKS_UNHASHED = 8  # at most, of CHUNK_BYTES each: they take memory

PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_MAGIC_BYTES = 4


class _Stored(RawIOBase):
    """The bytes as they are stored, counted and hashed on their way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file: Any = file  # whose readinto1 gives what is there at once; BinaryIO's declaration lacks it
        self.hash = _Hash()
        self.position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        count: int = self._file.readinto1(view)
        # What this is shows in the first bytes, and a pipe may hand over one at a time.
        while 0 < self.position + count < _MAGIC_BYTES and (more := self._file.readinto1(view[count:])):
            count += more
        self.hash.update(bytes(view[:count]))
        self.position += count
        return count

    def tell(self) -> int:
        return self.position


class _Hash:
    """A SHA-256 made in a thread, beside the parsing: a million rows of 1 kB are passed over in 8 s instead of 9."""

    def __init__(self) -> None:
        self._sha256 = sha256()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="analyze-hash")
        self._waiting: deque[Future[None]] = deque()

    def update(self, chunk: bytes) -> None:
        if len(self._waiting) == CHUNKS_UNHASHED:
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(self._sha256.update, chunk))

    def hexdigest(self) -> str:
        self._thread.shutdown()
        return self._sha256.hexdigest()


class _Unpacked(RawIOBase):
    """The bytes that a packed file holds. Raises InputError where it is damaged, after all that came before."""

    def __init__(self, packed: BufferedReader[_Stored], magic: bytes, name: str) -> None:
        self._file: BufferedIOBase
        self._damage: tuple[type[Exception], ...]
        if magic.startswith(_GZIP):
            self._file = gzip.GzipFile(fileobj=packed, mode="rb")
            self._damage = (EOFError, gzip.BadGzipFile, zlib.error)
        else:
            if sys.version_info >= (3, 14):
                from compression import zstd
            else:
                from backports import zstd
            self._file = zstd.ZstdFile(packed)
            self._damage = (EOFError, zstd.ZstdError)
        self._name = name
        self.position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        try:
            count = self._file.readinto1(buffer)
        except self._damage as error:
            problem = f"is packed, and damaged or cut short: {error}"
            raise InputError(problem, path=self._name, cure="copy or pack it again") from error
        self.position += count
        return count

    def tell(self) -> int:
        return self.position


class Opened:
    """An input while it is read. What it is shows in its first bytes, whatever its ending says."""

    def __init__(self, file: BinaryIO, size: int | None, name: str) -> None:
        self._size = size
        self.stored = _Stored(file)
        self._packed = BufferedReader(self.stored, CHUNK_BYTES)
        self.magic = self._packed.peek(_MAGIC_BYTES)[:_MAGIC_BYTES]
        self._unpacked: _Unpacked | None = None
        self.text: BufferedReader[Any] = self._packed
        if self.magic.startswith((_GZIP, _ZSTD)):
            self._unpacked = _Unpacked(self._packed, self.magic, name)
            self.text = BufferedReader(self._unpacked, CHUNK_BYTES)

    def fraction_read(self) -> float | None:
        """Leave out what waits in buffers: of a small file, that is everything."""
        if not self._size:
            return None
        share = self._packed.tell() / self._size
        if self._unpacked:
            share *= self.text.tell() / max(1, self._unpacked.position)
        return min(1.0, share)

    def read_up_to(self, share: float) -> None:
        """Read the stored bytes, for their hash only, to this share of them."""
        while self._size and self.text.tell() < share * self._size and self.text.read1(CHUNK_BYTES):
            pass
