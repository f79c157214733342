"""`python docs/pictures.py`: make report.png and report.zh.png, the first screen of the report of the measured engine.

Needs a `chromium`, as the browser tests do.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from analyze import run_pipeline

HERE = Path(__file__).parent
PICTURES = {"en": "report.png", "zh": "report.zh.png"}


def main() -> None:
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 880}, color_scheme="light")
        for lang, name in PICTURES.items():
            made = run_pipeline(HERE.parent / "data" / "tasks.jsonl", Path(folder, lang), engine="measured", lang=lang)
            page.goto(made["report"].resolve().as_uri())
            page.screenshot(path=HERE / name)


if __name__ == "__main__":
    main()
