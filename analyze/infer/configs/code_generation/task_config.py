"""Python functions from their descriptions. The code is taken out of the reply and parsed, never run."""

import ast
import json
import re
from pathlib import Path

REQUIRED_FIELDS = ["description", "signature"]

FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)


def get_file_list(input_path: str) -> list[str]:
    return [input_path or str(Path(__file__).with_name("functions.jsonl"))]


def read_file(file_path: str) -> list[dict]:
    with open(file_path, encoding="utf-8-sig") as file:
        return [json.loads(line) for line in file if line.strip()]


def format_prompt(org_data: dict) -> list[dict]:
    wish = f"{org_data['description']}\n\nWrite this function:\n\n    {org_data['signature']}"
    return [
        {"role": "system", "content": "You write correct, short Python. Answer with one fenced code block only."},
        {"role": "user", "content": wish},
    ]


def extract_answer(model_response: str, org_data: dict) -> dict | None:
    """Return the last code block that defines the function asked for, and whether it is Python."""
    name = re.match(r"def (\w+)", org_data["signature"])[1]
    blocks = FENCE.findall(model_response) or [model_response]
    for code in reversed(blocks):
        if f"def {name}(" in code:
            return {"code": code.strip(), "is_python": is_python(code)}
    return None


def is_python(code: str) -> bool:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError):
        return False
    return True


def evaluate(rows: list[dict]) -> dict:
    """Return how many replies hold the function, and how many of these can be parsed."""
    found = [row["answer"] for row in rows if row["answer"] is not None]
    return {"rows": len(rows), "with the function": len(found), "that parse": sum(one["is_python"] for one in found)}
