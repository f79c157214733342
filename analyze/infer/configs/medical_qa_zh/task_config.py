"""中文医学单选题：模型逐步分析后给出选项，提取最后给出的选项并与标准答案对照。"""

import json
import re
from pathlib import Path

REQUIRED_FIELDS = ["question", "options"]

STATED = re.compile(r"(?:答案|选择|应选|故选)\s*(?:是|为|：|:)?\s*[（(【\[]?\s*([A-E])(?![A-Za-z])", re.IGNORECASE)
ALONE = re.compile(r"(?<![A-Za-z])([A-E])(?![A-Za-z])")


def get_file_list(input_path: str) -> list[str]:
    return [input_path or str(Path(__file__).with_name("questions.jsonl"))]


def read_file(file_path: str) -> list[dict]:
    with open(file_path, encoding="utf-8-sig") as file:
        return [json.loads(line) for line in file if line.strip()]


def format_prompt(org_data: dict) -> list[dict]:
    options = "\n".join(f"{letter}. {text}" for letter, text in org_data["options"].items())
    wish = f"{org_data['question']}\n\n{options}\n\n请先简要分析，最后一行写“答案：X”，X 为选项字母。"
    return [
        {"role": "system", "content": "你是一名严谨的医学考试辅导老师，只回答题目本身。"},
        {"role": "user", "content": wish},
    ]


def extract_answer(model_response: str, org_data: dict) -> str | None:
    """返回最后明确给出的选项；没有明确说法时，取最后一行中单独出现的选项字母；都没有则返回 None。"""
    stated = STATED.findall(model_response)
    lines = model_response.strip().splitlines() or [""]
    found = [letter.upper() for letter in stated or ALONE.findall(lines[-1])]
    return next((letter for letter in reversed(found) if letter in org_data["options"]), None)


def evaluate(rows: list[dict]) -> dict:
    """返回准确率；没有提取到答案的题目计为错误。"""
    graded = [row for row in rows if row["org_data"].get("answer")]
    right = sum(row["answer"] == row["org_data"]["answer"] for row in graded)
    return {"题数": len(graded), "答对": right, "准确率": right / len(graded) if graded else None}
