"""What a run has made, as a mapping that a notebook can show. Knows no step of the run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from analyze.errors import EXIT_OK, EXIT_SOME_FAILED

if TYPE_CHECKING:
    from analyze.report.brief import Brief


class Artefacts(Mapping[str, Path]):
    """What a run has made: artefact name (file name without extension) → path.

    Where two files share a name (`report.html`, `report.md`) the name means the first; the other has its full name.
    `failed` tasks of `tasks` have a pair that could not be judged, `rejected` lines were no tasks. A notebook shows
    `brief`.
    """

    def __init__(self, paths: Iterable[Path], *, tasks: int, failed: int, rejected: int, brief: Brief) -> None:
        self._paths: dict[str, Path] = {}
        for path in sorted(paths, key=lambda path: (path.suffix not in (".html", ".png"), path)):
            self._paths[path.name if path.stem in self._paths else path.stem] = path
        self.tasks, self.failed, self.rejected = tasks, failed, rejected
        self._brief = brief

    def __getitem__(self, name: str) -> Path:
        return self._paths[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {path}" for name, path in self._paths.items())

    def _repr_html_(self) -> str:
        return self._brief.html(self)

    def _repr_markdown_(self) -> str:
        return self._brief.markdown(self)

    @property
    def exit_code(self) -> int:
        return EXIT_SOME_FAILED if self.failed or self.rejected else EXIT_OK
