"""The notebooks of `examples/` run from their first cell to their last, and are stored without outputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.fake_vllm import FakeVLLM

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@dataclass(frozen=True, slots=True)
class Executed:
    """A notebook that was run: the outputs of its cells that have any, in their order, and the values of widgets."""

    outputs: list[Any]
    widgets: dict[str, Any]

    @property
    def written(self) -> str:
        return "".join(output.text for cell in self.outputs for output in cell if output.output_type == "stream")


def executed(name: str, folder: Path, *, first: str | None = None) -> Executed:
    """Run a notebook in `folder`, with a cell before all others if `first` is its source."""
    notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    if first:
        notebook.cells.insert(0, nbformat.v4.new_code_cell(first))
    NotebookClient(notebook, timeout=300, startup_timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code" and cell.outputs]
    states = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {}).get("state", {})
    return Executed(outputs, {it["model_name"]: it["state"].get("value") for it in states.values()})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES.parent))
    monkeypatch.setenv("ANALYZE_LANG", "en")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))  # else kernels share a history and a user's settings
    (tmp_path / "data").mkdir()
    packaged = (EXAMPLES.parent / "data" / "tasks.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "data" / "tasks.jsonl").write_text("".join(packaged[:6]), encoding="utf-8")
    return tmp_path


def test_the_pipeline_runs_in_a_notebook_with_a_bar_and_shows_the_run_at_a_glance(folder: Path):
    ran = executed("run_pipeline", folder)
    assert ran.widgets["FloatProgressModel"] == 6
    assert "6/6" in ran.widgets["HTMLModel"]
    assert "Judging tasks" not in ran.written
    *_, shown, header = ran.outputs
    assert "No model was asked" in shown[0].data["text/html"]
    assert "| Rival |" in shown[0].data["text/markdown"]
    assert header[0].data["text/plain"].startswith("'target,author,pairs")
    assert (folder / "outputs" / "notebook" / "report.html").exists()


def test_without_ipywidgets_a_notebook_shows_progress_as_lines(folder: Path):
    ran = executed("run_pipeline", folder, first="import sys; sys.modules['ipywidgets'] = None")
    assert ran.widgets == {}
    assert "Judging tasks: 6/6 (100%), ok=6, failed=0" in ran.written


def test_many_questions_are_asked_from_a_notebook(folder: Path, fleet: list[FakeVLLM], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VLLM_ENDPOINTS", ",".join(server.url for server in fleet))
    *_, count, _ = executed("ask_many", folder).outputs
    assert count[-1].data["text/plain"] == "20"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_stored_notebook_has_no_outputs_and_no_paths_of_a_machine(path: Path):
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
    assert "/home/" not in path.read_text() and "/work" not in path.read_text()
