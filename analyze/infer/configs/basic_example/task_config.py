"""The smallest task: a question a line, and the reply's first line as its answer. Copy the folder and change it."""

import json
from pathlib import Path


def get_file_list(input_path: str) -> list[str]:
    """Return the files to read: those that --input_path names, else the one that comes with the task."""
    given = Path(input_path) if input_path else Path(__file__).with_name("questions.jsonl")
    return sorted(str(path) for path in given.glob("*.jsonl")) if given.is_dir() else [str(given)]


def read_file(file_path: str) -> list[dict]:
    """Return the rows of one file."""
    with open(file_path, encoding="utf-8-sig") as file:
        return [json.loads(line) for line in file if line.strip()]


def format_prompt(org_data: dict) -> list[dict]:
    """Return what is asked about a row: messages for a chat model (a text would be sent as it stands)."""
    return [{"role": "user", "content": f"Answer in one short sentence.\n\n{org_data['question']}"}]


def extract_answer(model_response: str) -> str | None:
    """Return the answer in a reply, None where there is none."""
    lines = [line.strip() for line in model_response.splitlines() if line.strip()]
    return lines[0] if lines else None
