"""Checks of the Python solutions: `python -I python_checks.py TASK_ID < solution`.

Exit 0 if the solution does what its task asks. One function per task. Knows nothing of authors or
expectations. A solution runs in this process, so the caller starts one process per solution; this one bounds
its own processor time and memory.
"""

from __future__ import annotations

import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

CPU_SECONDS = 10
MEMORY_BYTES = 2 << 30


def raises(error: type[BaseException], function: Callable[..., Any], *args: Any, **kwargs: Any) -> bool:
    try:
        function(*args, **kwargs)
    except error:
        return True
    return False


def lru_cache(solution: ModuleType) -> None:
    cache = solution.LRUCache(2)
    cache.put(1, "a")
    cache.put(2, "b")
    assert cache.get(1) == "a"
    cache.put(3, "c")
    assert (cache.get(1), cache.get(2), cache.get(3)) == ("a", -1, "c")
    cache.put(1, "A")
    cache.put(4, "d")
    assert (cache.get(1), cache.get(3), cache.get(4)) == ("A", -1, "d")
    assert raises(ValueError, solution.LRUCache, 0)


def parse_csv_line(solution: ModuleType) -> None:
    cases = {
        "": [""],
        "a,b,c": ["a", "b", "c"],
        "a,,c,": ["a", "", "c", ""],
        '"a,b",c': ["a,b", "c"],
        '"he said ""no""",x': ['he said "no"', "x"],
        '"",""': ["", ""],
        " a , b": [" a ", " b"],
        '"""x"""': ['"x"'],
    }
    for line, fields in cases.items():
        assert solution.parse_csv_line(line) == fields, line
    assert raises(ValueError, solution.parse_csv_line, 'a,"b')


def sliding_window_limiter(solution: ModuleType) -> None:
    limiter = solution.SlidingWindowLimiter(2, 10.0)
    asked = [("u", 0.0), ("u", 9.0), ("u", 9.5), ("v", 9.5), ("u", 10.0), ("u", 10.5), ("u", 19.0), ("u", 19.5)]
    assert [limiter.allow(*call) for call in asked] == [True, True, False, True, True, False, True, False]


def topological_order(solution: ModuleType) -> None:
    def check(depends: dict[str, list[str]]) -> None:
        order = solution.build_order(depends)
        place = {name: index for index, name in enumerate(order)}
        assert len(place) == len(order)
        assert set(place) == set(depends).union(*depends.values())
        assert all(place[need] < place[name] for name, needed in depends.items() for need in needed)

    check({})
    check({"app": ["lib", "log"], "lib": ["core"], "log": ["core"]})
    check({"a": ["b", "b"], "c": []})
    check({str(i): [str(i + 1)] for i in range(1500)})
    assert raises(ValueError, solution.build_order, {"a": ["b"], "b": ["c"], "c": ["a"]})
    assert raises(ValueError, solution.build_order, {"a": ["a"]})


def merge_intervals(solution: ModuleType) -> None:
    cases = [
        ([], []),
        ([[1, 3], [2, 6], [8, 10]], [[1, 6], [8, 10]]),
        ([[3, 5], [1, 3]], [[1, 5]]),
        ([[1, 10], [2, 3], [11, 12]], [[1, 10], [11, 12]]),
        ([[1, 4], [0, 0], [1, 4]], [[0, 0], [1, 4]]),
    ]
    for given, expected in cases:
        copy = [list(pair) for pair in given]
        assert solution.merge_intervals(given) == expected, given
        assert given == copy


def safe_path_join(solution: ModuleType) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve() / "files"
        (root / "sub").mkdir(parents=True)
        (root.parent / "files-old").mkdir()
        (root / "link").symlink_to(root.parent)
        base = str(root)
        assert solution.safe_join(base, "sub/../a.txt") == str(root / "a.txt")
        assert solution.safe_join(base, ".") == base
        assert solution.safe_join(base, "....//x") == str(root / "..../x")
        for bad in ("../x", "/etc/passwd", "../files-old/x", "link/x", "sub/../../x"):
            assert raises(ValueError, solution.safe_join, base, bad), bad


def search_users_sql(solution: ModuleType) -> None:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE users (id INTEGER, name TEXT, email TEXT)")
        names = [(3, "王小明"), (1, "小明"), (2, "100%_x"), (4, "O'Brien")]
        connection.executemany("INSERT INTO users VALUES (?, ?, 'e')", names)

        def found(keyword: str, *limit: int) -> list[int]:
            return [row[0] for row in solution.search_users(connection, keyword, *limit)]

        assert found("小明") == [1, 3]
        assert found("小明", 1) == [1]
        assert found("%") == [2] and found("_") == [2] and found("0%_") == [2]
        assert found("O'B") == [4] and found("\\") == [] and found("") == []


def parse_duration(solution: ModuleType) -> None:
    good = {"2d4h": 187200, "1h30m": 5400, "45s": 45, " 90m ": 5400, "0s": 0, "1d1h1m1s": 90061}
    for text, seconds in good.items():
        assert solution.parse_duration(text) == seconds, text
    for text in ("", " ", "5", "5x", "-5s", "1h-3m", "30m1h", "1h1h", "h", "1h 30m", "1.5h", "s5", "(1)h"):
        assert raises(ValueError, solution.parse_duration, text), text


def retry_with_backoff(solution: ModuleType) -> None:
    calls: list[int] = []

    def flaky(fail: int, error: BaseException) -> str:
        """Fail so often, then answer."""
        calls.append(1)
        if len(calls) <= fail:
            raise error
        return "ok"

    with mock.patch.object(time, "sleep") as sleep:
        wrapped = solution.retry(attempts=3, base_delay=1.0)(flaky)
        assert wrapped.__name__ == "flaky" and wrapped.__doc__ == flaky.__doc__
        assert wrapped(2, OSError()) == "ok"
        assert [call.args[0] for call in sleep.call_args_list] == [1.0, 2.0]
        calls.clear()
        assert raises(ConnectionError, wrapped, 9, ConnectionError()) and len(calls) == 3
        calls.clear()
        assert raises(KeyError, wrapped, 9, KeyError()) and len(calls) == 1
    assert raises(ValueError, lambda: solution.retry(attempts=0)(flaky))


def flatten_json(solution: ModuleType) -> None:
    assert solution.flatten({"a": {"b": [1, 2]}}) == {"a.b.0": 1, "a.b.1": 2}
    assert solution.flatten([{"x": None}, []], "/") == {"0/x": None, "1": []}
    assert solution.flatten({"a": {}, "b": {"c": {}}}) == {"a": {}, "b.c": {}}
    assert solution.flatten({}) == {} and solution.flatten([]) == {}
    assert list(solution.flatten({"z": 1, "a": {"y": 2, "b": 3}})) == ["z", "a.y", "a.b"]


def chinese_bigrams(solution: ModuleType) -> None:
    assert solution.top_bigrams("", 3) == []
    assert solution.top_bigrams("哈哈哈", 3) == [("哈哈", 2)]
    assert solution.top_bigrams("你好，好人。你好", 5) == [("你好", 2), ("好人", 1)]
    assert solution.top_bigrams("天气 abc好 气天", 5) == [("天气", 1), ("气天", 1)]
    assert solution.top_bigrams("中文中文字ひらがな", 2) == [("中文", 2), ("文中", 1)]


def safe_arithmetic(solution: ModuleType) -> None:
    good = {"1 + 2 * 3": 7, "(1 + 2) * -3": -9, "10 / 4": 2.5, "--2": 2, " 1.5*2 ": 3, "8-3-2": 3, "8/4/2": 1}
    for text, value in good.items():
        assert solution.calculate(text) == value, text
    for text in ("", "1 +", "(1", "abc", "2 ** 3", "len('ab')", "1 if 1 else 2", "().__class__", "1 2"):
        assert raises(ValueError, solution.calculate, text), text
    assert raises(ZeroDivisionError, solution.calculate, "1 / 0")


def password_hashing(solution: ModuleType) -> None:
    first, second = solution.hash_password("密码 one"), solution.hash_password("密码 one")
    assert first != second and isinstance(first, str)
    assert solution.verify_password("密码 one", first) and solution.verify_password("密码 one", second)
    assert not solution.verify_password("密码 two", first)
    for broken in ("", "x", "a$b", "1$2$3", "zz$zz"):
        assert solution.verify_password("密码 one", broken) is False


CHECKS: dict[str, Callable[[ModuleType], None]] = {
    check.__name__.replace("_", "-"): check
    for check in (
        lru_cache,
        parse_csv_line,
        sliding_window_limiter,
        topological_order,
        merge_intervals,
        safe_path_join,
        search_users_sql,
        parse_duration,
        retry_with_backoff,
        flatten_json,
        chinese_bigrams,
        safe_arithmetic,
        password_hashing,
    )
}


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    solution = ModuleType("solution")
    sys.modules["solution"] = solution  # dataclasses look their module up
    exec(compile(sys.stdin.read(), "solution", "exec"), solution.__dict__)
    CHECKS[sys.argv[1]](solution)


if __name__ == "__main__":
    main()
