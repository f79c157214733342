"""The direction of dependencies (DESIGN "Layout"), held over the source itself."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import analyze

ROOT = Path(analyze.__file__).parent
WORDS = {
    "console",
    "errors",
    "errors_zh",
    "files",
    "inert",
    "lang",
    "loops",
    "prefixes",
    "records",
    "settings",
    "tiny_model",
    "_version",
}
RUN_READERS = {"runs.journal", "runs.manifest"}
JOBS = {"batch", "pipeline", "per_task", "classify", "infer", "annotate"}

# package or module → what it may import besides itself and WORDS
ALLOWED: dict[str, set[str]] = {
    **{word: set() for word in WORDS},
    "watch": set(),
    "windows": set(),
    "usage": {"watch"},
    "fleet": {"usage", "watch", "windows"},
    "server_replies": {"fleet", "watch"},
    "tokens": set(),
    "reply_tokens": {"tokens"},
    "wire": {"fleet"},
    "lookout": {"fleet", "server_replies", "watch", "wire"},
    "core": {"fleet", "lookout", "server_replies", "wire"},
    "multi_vllm": {"core", "fleet", "server_replies"},
    "servers": set(),
    "facts": set(),
    "stats": set(),
    "judge": {"facts"},
    "report": {"stats", "judge.labels", "judge.issues", *RUN_READERS},
    "runs": {"core", "fleet", "reply_tokens", "tokens", "usage"},
    "hf": {"core", "reply_tokens", "runs", "servers", "tokens"},
    "status": {"runs", "status_texts"},
    "status_texts": set(),
    "log_probabilities": {"runs", "judge"},
    "per_task": {"core", "runs", "judge", "facts", "multi_vllm", "log_probabilities", "tokens"},
    "pipeline": {
        "runs",
        "judge",
        "facts",
        "stats",
        "report",
        "per_task",
        "tokens",
    },
    "classify": {"core", "fleet", "hf", "report", "runs", "servers", "stats", "tokens"},
    "infer": {"core", "hf", "report", "runs", "servers", "tokens"},
    "annotate": {"report", "runs", "tokens"},
    "batch": {"runs", "tokens"},
    "cli": {"runs", "servers", "report", *JOBS},
    "__init__": {"multi_vllm", "runs", "per_task", "pipeline"},
    "__main__": {"cli"},
}
HEAVY = {"openai", "httpx2", "aiohttp", "torch", "transformers", "pandas", "matplotlib", "wordcloud", "vllm", "scipy"}


def imports_of(path: Path) -> set[str]:
    """Every module of ours that `path` imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "analyze":
            base = node.module.removeprefix("analyze").lstrip(".")
            for alias in node.names:
                deeper = f"{base}.{alias.name}".lstrip(".")
                found.add(deeper if (ROOT / (deeper.replace(".", "/") + ".py")).exists() or not base else base)
        elif isinstance(node, ast.Import):
            found.update(a.name.removeprefix("analyze.") for a in node.names if a.name.startswith("analyze."))
    return found


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def test_every_import_goes_in_its_direction():
    wrong = []
    for path in sorted(ROOT.rglob("*.py")):
        room = room_of(path)
        for module in imports_of(path):
            top = module.split(".")[0]
            allowed = ALLOWED[room]
            fine = top in WORDS or top == room or top in allowed or module in allowed
            if not fine:
                wrong.append(f"{path.relative_to(ROOT.parent)} imports {module}")
    assert wrong == []


def test_importing_analyze_pulls_in_nothing_heavy():
    code = f"import sys, analyze; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_servers_need_nothing_but_the_standard_library():
    code = (
        "import sys, analyze.servers; "
        "print(sorted({m.split('.')[0] for m in sys.modules} - set(sys.stdlib_module_names) - {'analyze'}))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=ROOT.parent)
    assert done.returncode == 0, done.stderr
    ours = [name for name in done.stdout.strip("[]\n").split(", ") if name and not name.startswith("'_")]
    assert ours == []


def test_what_is_imported_is_declared_and_the_other_way_round():
    """A dependency of a dependency may go away: openai 3 dropped httpx, and who imported it through the SDK broke."""
    extras = {"torch", "transformers", "tokenizers", "xgrammar", "vllm", "pyarrow", "pycocotools"}
    names = {
        "PIL": "pillow",
        "backports": "backports.zstd",
        "compression": "backports.zstd",  # the standard library's, from Python 3.14 on
        "fontTools": "fonttools",
        "jsonschema_rs": "jsonschema-rs",
        "httpx2": "openai",
        "json_repair": "json-repair",
        "markupsafe": "jinja2",
        "yaml": "pyyaml",
    }
    run_as_commands = {"ruff", "bandit"}
    font_only = {"zhplot"}
    imported = set()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
            elif isinstance(node, ast.Import):
                imported.update(alias.name.split(".")[0] for alias in node.names)
    imported -= set(sys.stdlib_module_names) | {"analyze", "_typeshed"} | extras
    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[<>=\[]", line)[0] for line in project["dependencies"]}
    assert {names.get(name, name) for name in imported} | run_as_commands | font_only == declared
