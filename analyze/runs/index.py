"""A map from names to numbers that takes 16 bytes an entry. Pure: knows no file, no row.

A name is kept as its 64-bit hash: two of a million names are mistaken for each other once in forty million runs (ten
million: in four hundred thousand). The hash differs from process to process, so that such a run goes well when it is
run again. New entries are put in a dict, and sorted in among the old ones (numpy, binary search) when there are many:
a dict of a million names and their numbers would take 200 MB.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FEWEST_FRESH = 1 << 16
FRESH_SHARE = 1 / 8
"""Entries in the dict before they are sorted in: merging costs in proportion to all, so they may grow with all."""

_UNSIGNED = (1 << 64) - 1


class Index:
    """Numbers from 0 to 2**64 - 1 by name."""

    def __init__(self) -> None:
        self._fresh: dict[int, int] = {}
        self._most_fresh = FEWEST_FRESH
        self._sorted: tuple[NDArray[np.uint64], NDArray[np.uint64]] | None = None  # hashes, and their numbers

    def __bool__(self) -> bool:
        return bool(self._fresh) or self._sorted is not None

    def __setitem__(self, name: str, number: int) -> None:
        self._fresh[hash(name)] = number
        if len(self._fresh) >= self._most_fresh:
            self._sort_in()

    def update(self, names: Iterable[str], numbers: Iterable[int]) -> None:
        """Enter many, a few thousand at a time: of equal names the last holds."""
        self._fresh.update(zip(map(hash, names), numbers, strict=True))
        if len(self._fresh) >= self._most_fresh:
            self._sort_in()

    def get(self, name: str) -> int | None:
        number = self._fresh.get(hashed := hash(name))
        if number is not None or self._sorted is None:
            return number
        keys = self._sorted[0].data  # of numbers of Python's own, four times as quick
        place = bisect_left(keys, hashed & _UNSIGNED)
        return int(self._sorted[1][place]) if place < len(keys) and keys[place] == hashed & _UNSIGNED else None

    def get_many(self, names: Sequence[str]) -> Iterator[int | None]:
        """Return the number of each name, None where it has none. Ten times as quick a name as one by one."""
        hashes = [*map(hash, names)]
        fresh = map(self._fresh.get, hashes)
        if self._sorted is None:
            return fresh
        return (old if new is None else new for new, old in zip(fresh, self._old(hashes), strict=True))

    def add(self, name: str) -> bool:
        """Enter a name; return whether it is new."""
        if self.get(name) is not None:
            return False
        self[name] = 0
        return True

    def add_all(self, names: Sequence[str]) -> bool:
        """Enter these names if all are new, and differ; return whether they are. Five times as quick as one by one."""
        hashes = [*map(hash, names)]
        new = dict.fromkeys(hashes, 0)
        if len(new) < len(hashes) or not self._fresh.keys().isdisjoint(new):
            return False
        if self._sorted is not None:
            wanted = _array(hashes)
            wanted.sort()  # neighbours are found in memory that is in the cache already
            if self._places(wanted)[1].any():
                return False
        self._fresh |= new
        if len(self._fresh) >= self._most_fresh:
            self._sort_in()
        return True

    def _old(self, hashes: list[int]) -> Iterable[int | None]:
        """Return the numbers among the sorted entries."""
        assert self._sorted is not None
        wanted = _array(hashes)
        order = wanted.argsort()
        places, found = self._places(wanted[order])
        back = order.argsort()
        numbers: list[int] = self._sorted[1].take(places, mode="clip")[back].tolist()
        if found.all():
            return numbers
        return [number if is_there else None for is_there, number in zip(found[back].tolist(), numbers, strict=True)]

    def _places(self, wanted: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return where these are among the sorted entries, or would be, and which of them are."""
        assert self._sorted is not None
        keys = self._sorted[0]
        places = keys.searchsorted(wanted)
        return places, keys.take(places, mode="clip") == wanted

    def _sort_in(self) -> None:
        """Put the fresh entries where they belong: only they need to be sorted."""
        import numpy as np

        keys = np.fromiter(self._fresh.keys(), np.int64, len(self._fresh)).view(np.uint64)
        numbers = np.fromiter(self._fresh.values(), np.uint64, len(self._fresh))
        order = keys.argsort()
        keys, numbers = keys[order], numbers[order]
        if self._sorted is not None:
            places, is_old = self._places(keys)
            self._sorted[1][places[is_old]] = numbers[is_old]
            is_new, (old_keys, old_numbers) = ~is_old, self._sorted
            keys = np.insert(old_keys, places[is_new], keys[is_new])
            numbers = np.insert(old_numbers, places[is_new], numbers[is_new])
        self._sorted = keys, numbers
        self._fresh = {}
        self._most_fresh = max(FEWEST_FRESH, int(len(keys) * FRESH_SHARE))


def _array(hashes: list[int]) -> NDArray[np.uint64]:
    import numpy as np

    return np.array(hashes, dtype=np.int64).view(np.uint64)
