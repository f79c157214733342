"""vLLM servers on this machine: what to run, start, check, drain, stop. Standard library only.

    settings ── planning ── starting ── processes      command: analyze servers start|stop|check
    hardware ──┘            stopping ──┤
                            checking ──┴ probing       texts: what the console says

Servers are found again by pid files in one folder (`vllm_logs/`), each believed only if its process is really ours.
Knows nothing of clients, jobs or what is asked.
"""

from analyze.servers.checking import check, exit_code
from analyze.servers.command import main
from analyze.servers.hardware import Gpu, find_gpus
from analyze.servers.planning import InstanceSpec, Plan, plan
from analyze.servers.probing import InstanceState, Load, Seen, load_of, look
from analyze.servers.settings import ServerSettings, server_settings
from analyze.servers.starting import Started, running, start
from analyze.servers.stopping import stop_records
from analyze.tiny_model import DEMO_MODEL_NAME

__all__ = [
    "DEMO_MODEL_NAME",
    "Gpu",
    "InstanceSpec",
    "InstanceState",
    "Load",
    "Plan",
    "Seen",
    "ServerSettings",
    "Started",
    "check",
    "exit_code",
    "find_gpus",
    "load_of",
    "look",
    "main",
    "plan",
    "running",
    "server_settings",
    "start",
    "stop_records",
]
