"""The commands for images in the READMEs run, one after the other."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.annotate.conftest import Command, environ

ROOT = Path(__file__).parents[2]


def test_every_command_for_images_runs(annotate: Command) -> None:
    block = next(
        block
        for block in re.findall(r"^```bash\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
        if "analyze.annotate" in block
    )
    name = annotate.picture("a.png")
    (annotate.folder / "rows.jsonl").write_text(json.dumps({"image_path": name}) + "\n")
    image = {"id": 1, "file_name": name, "width": 200, "height": 100}
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [20, 20, 60, 40], "area": 2400, "iscrowd": 0}
    gold = {"images": [image], "annotations": [box], "categories": [{"id": 1, "name": "cat"}]}
    (annotate.folder / "gold.json").write_text(json.dumps(gold))
    env = {
        **environ(),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "VLLM_ENDPOINTS": ",".join(server.url for server in annotate.servers),
    }
    for command in block.splitlines():
        done = subprocess.run(
            ["bash", "-c", command], cwd=annotate.folder, env=env, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
