"""Every setting of the jobs, once: its name, its environment variable, its default, what it means.

A value comes from the flag, else the environment, else the default; `Resolved.source` remembers which.
Knows nothing of the jobs that read it. (Settings of the servers stand at the top of the scripts.)
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from analyze.errors import UsageError
from analyze.lang import Lang

DEFAULT_PORTS = "8001,8002,8003,8004"
DEFAULT_API_KEY = "EMPTY"  # what vLLM's own examples send to a server that asks for no key

IN_FLIGHT_OF_A_CLIENT = 16
"""Requests out at a time to a client of somebody else's, of whose servers nothing is known."""

REQUEST_TIMEOUT_S = 600.0
"""One attempt of one request, from the send to the last byte; the OpenAI SDK's own default."""

CONNECT_TIMEOUT_S = 5.0

BULK_UNAVAILABLE_TIMEOUT_S = 300.0
"""How long a run waits for a server to come back once all are gone. A restart of a 30B model takes 1-3 minutes."""

SINGLE_UNAVAILABLE_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """One setting. `env` is also its flag: VLLM_PORTS is `--vllm-ports`. `secret` values are never shown."""

    env: str
    default: str | None
    help: Mapping[Lang, str]
    secret: bool = False

    @property
    def flag(self) -> str:
        return "--" + self.env.lower().replace("_", "-")

    @property
    def key(self) -> str:
        return self.env.lower()


@dataclass(frozen=True, slots=True)
class Resolved:
    setting: Setting
    value: str | None
    source: str  # "flag", "environment" or "default"


VLLM_ENDPOINTS = Setting(
    "VLLM_ENDPOINTS",
    None,
    {"en": "base URLs of the servers, comma separated; wins over ports", "zh": "服务器地址，逗号分隔；优先于端口"},
)
VLLM_PORTS = Setting("VLLM_PORTS", DEFAULT_PORTS, {"en": "ports of the vLLM instances", "zh": "vLLM 实例端口列表"})
VLLM_HOST = Setting("VLLM_HOST", "localhost", {"en": "host of the vLLM instances", "zh": "vLLM 实例主机地址"})
VLLM_API_KEY = Setting(
    "VLLM_API_KEY",
    DEFAULT_API_KEY,
    {"en": "key sent to these servers, and to no other", "zh": "发送给这些服务器的密钥"},
    secret=True,
)
USE_MULTI_VLLM = Setting(
    "USE_MULTI_VLLM",
    "true",
    {"en": "false: use one server only, the first", "zh": "是否启用多实例模式；false 只用第一个实例"},
)
INPUT_JSONL = Setting("INPUT_JSONL", "data/tasks.jsonl", {"en": "tasks to judge", "zh": "输入任务文件"})
OUTPUT_DIR = Setting("OUTPUT_DIR", "outputs", {"en": "folder of the results", "zh": "输出目录"})
FONT_PATH = Setting("FONT_PATH", None, {"en": "font of the word clouds", "zh": "中文字体路径（词云）"})
MODEL = Setting(
    "MODEL",
    None,
    {"en": "model to ask; default: the one all servers report", "zh": "使用的模型；默认取各服务器一致报告的模型"},
)
ANALYZE_ENGINE = Setting(
    "ANALYZE_ENGINE",
    "fleet",
    {
        "en": "fleet: ask the servers; measured: no model, measured facts only",
        "zh": "fleet 使用模型；measured 不用模型，只看实测事实",
    },
)
AUDIT_TASKS = Setting(
    "AUDIT_TASKS",
    "30",
    {
        "en": "tasks on which the judge itself is checked, about 24 questions each; 0: none",
        "zh": "用于检查评审模型本身的任务数，每个约 24 次提问；0 表示不检查",
    },
)
SECOND_JUDGE_ENDPOINTS = Setting(
    "SECOND_JUDGE_ENDPOINTS",
    None,
    {
        "en": "base URLs of servers with another model, comma separated: it judges the audited tasks too",
        "zh": "另一模型的服务器地址，逗号分隔；由它再评一遍受检任务",
    },
)
SECOND_JUDGE_MODEL = Setting(
    "SECOND_JUDGE_MODEL",
    None,
    {
        "en": "model of the second judge; default: the one its servers report",
        "zh": "第二评审的模型；默认取其服务器报告的模型",
    },
)
ANALYZE_LANG = Setting(
    "ANALYZE_LANG",
    None,
    {
        "en": "language of console and reports: en or zh; default: the locale",
        "zh": "控制台与报告语言：en 或 zh；默认随系统",
    },
)

ADDRESSES = (VLLM_ENDPOINTS, VLLM_PORTS, VLLM_HOST, VLLM_API_KEY)
PIPELINE = (
    USE_MULTI_VLLM,
    *ADDRESSES,
    INPUT_JSONL,
    OUTPUT_DIR,
    FONT_PATH,
    MODEL,
    ANALYZE_ENGINE,
    AUDIT_TASKS,
    SECOND_JUDGE_ENDPOINTS,
    SECOND_JUDGE_MODEL,
    ANALYZE_LANG,
)


class Settings:
    """The settings of one job, resolved. Indexing gives a value, `resolved` where each came from."""

    def __init__(
        self,
        wanted: Iterable[Setting],
        flags: Mapping[str, str | None] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Resolve `wanted`; `flags` maps `Setting.key` to the value given on the command line, None where not given."""
        flags = flags or {}
        environ = os.environ if environ is None else environ
        self.resolved = {setting: _resolve(setting, flags.get(setting.key), environ) for setting in wanted}

    def __getitem__(self, setting: Setting) -> str | None:
        return self.resolved[setting].value

    def text(self, setting: Setting) -> str:
        """Return the value of a setting that has a default."""
        value = self[setting]
        assert value is not None, f"{setting.env} has no default"
        return value

    def flag(self, setting: Setting) -> bool:
        """Return a yes/no setting. Raises UsageError for anything that is neither."""
        value = self.text(setting).strip().lower()
        if value in ("true", "1", "yes", "on"):
            return True
        if value in ("false", "0", "no", "off"):
            return False
        raise UsageError(f"{setting.env}={value!r} is neither true nor false", cure=f"{setting.env}=true or false")

    def count(self, setting: Setting) -> int:
        """Return a number of things. Raises UsageError for anything that is none."""
        value = self.text(setting).strip()
        if not (value.isascii() and value.isdecimal()):
            raise UsageError(f"{setting.env}={value!r} is no number from 0 up", cure=f"{setting.env}={setting.default}")
        return int(value)

    def show(self) -> str:
        """Return one line a setting: name, value, source."""
        rows = [(r.setting.env, _shown(r), r.source) for r in self.resolved.values()]
        widths = [max(len(row[column]) for row in rows) for column in range(2)]
        return "\n".join(f"{name:<{widths[0]}}  {value:<{widths[1]}}  ({source})" for name, value, source in rows)

    def record(self) -> dict[str, str | None]:
        """Return what a manifest may hold: every value but the secrets."""
        return {r.setting.env: r.value for r in self.resolved.values() if not r.setting.secret}


def _resolve(setting: Setting, flag: str | None, environ: Mapping[str, str]) -> Resolved:
    if flag is not None:
        return Resolved(setting, flag, "flag")
    if environ.get(setting.env):
        return Resolved(setting, environ[setting.env], "environment")
    return Resolved(setting, setting.default, "default")


def _shown(resolved: Resolved) -> str:
    if resolved.setting.secret and resolved.source != "default":
        return "(set)"
    return "—" if resolved.value is None else resolved.value


def addresses(settings: Settings, base_urls: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the base URLs to ask: `base_urls` (flags), then VLLM_ENDPOINTS, then VLLM_PORTS at VLLM_HOST.

    Raises UsageError for an address or a port that cannot be one.
    """
    listed = settings[VLLM_ENDPOINTS]
    if base_urls:
        return endpoints(*base_urls)
    if listed and settings.resolved[VLLM_PORTS].source != "flag":
        return endpoints(listed)
    return urls_of_ports(ports(settings.text(VLLM_PORTS)), settings.text(VLLM_HOST))


def names_addresses(settings: Settings, base_urls: Sequence[str] = ()) -> bool:
    """Return whether somebody has said which servers to ask, so that `addresses` are not the defaults."""
    sources = (VLLM_ENDPOINTS, VLLM_PORTS, VLLM_HOST)
    return bool(base_urls) or any(settings.resolved[one].source != "default" for one in sources)


def endpoints(*texts: str) -> tuple[str, ...]:
    """Read base URLs; a text may hold several, comma separated. Raises UsageError for an address that cannot be one."""
    named = (url for text in texts for url in re.split(r"[\s,]+", text.strip(" \t\r\n,")))
    return tuple(dict.fromkeys(map(base_url, named)))


def urls_of_ports(wanted: Iterable[int], host: str) -> tuple[str, ...]:
    """Return the base URLs of these ports. Raises UsageError for a host or port that cannot be one."""
    bracketed = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return tuple(base_url(f"http://{bracketed}:{port}/v1") for port in wanted)


def api_key(text: str | None) -> str:
    """Return the key to send, `EMPTY` where none is given. Raises UsageError for one that no header can hold."""
    key = (text or "").strip() or DEFAULT_API_KEY
    if not key.isascii() or not key.isprintable():
        raise UsageError("VLLM_API_KEY holds characters that no key has", cure="set it again, without line ends")
    return key


def ports(text: str) -> tuple[int, ...]:
    """Read `8001,8002`. Raises UsageError naming the part that is no port."""
    found = []
    for part in filter(None, re.split(r"[\s,]+", text.strip())):
        if not part.isdecimal() or not 0 < int(part) < 65536:
            raise UsageError(f"VLLM_PORTS={text!r}: {part!r} is no port", cure="VLLM_PORTS=8001,8002,8003,8004")
        found.append(int(part))
    if not found:
        raise UsageError(f"VLLM_PORTS={text!r} names no port", cure="VLLM_PORTS=8001,8002,8003,8004")
    return tuple(dict.fromkeys(found))


def base_url(text: str) -> str:
    """Return `text` as the base URL of an OpenAI API, with `/v1` where only a host and port are given.

    Raises UsageError for a text that is no http(s) URL.
    """
    match = re.fullmatch(r"(https?://)([^\s/?#@:\[\]]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?(/[^\s?#]*)?", text.strip())
    host_fits = match is not None and all(len(label) < 64 for label in match[2].split("."))
    if match is None or not host_fits or (match[3] and not 0 < int(match[3][1:]) < 65536):
        shown = re.sub(r"//[^/@]*@", "//***@", text)
        raise UsageError(f"{shown!r} is no base URL", cure="give it as http://HOST:PORT/v1, without user or password")
    return match[1] + match[2] + (match[3] or "") + ((match[4] or "").rstrip("/") or "/v1")
