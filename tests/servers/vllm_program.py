"""Plays `vllm serve`: records how it was called, answers like a server, dies when told to. Standard library only.

FAKE_VLLM_DIR gets PORT.json (argv, environment), and PORT.term (what was in flight when SIGTERM came). There a test
puts PORT.busy (requests in flight, as text), `die` (what to print before dying) and `hold` (answer nothing until that
is removed).
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

folder = pathlib.Path(os.environ["FAKE_VLLM_DIR"])
argv = sys.argv[1:]
port = int(argv[argv.index("--port") + 1])
path = argv[argv.index("--model") + 1] if "--model" in argv else argv[1]
name = argv[argv.index("--served-model-name") + 1] if "--served-model-name" in argv else path


def told(file: str, default: str) -> str:
    return (folder / file).read_text() if (folder / file).exists() else default


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        busy = told(f"{port}.busy", "0")
        pages = {
            "/health": "",
            "/v1/models": json.dumps({"data": [{"id": name, "root": path, "owned_by": "vllm"}]}),
            "/metrics": f"""# HELP vllm:num_requests_running Number of requests
vllm:num_requests_running{{engine="0",model_name="{name}"}} {busy}.0
vllm:num_requests_waiting{{engine="0",model_name="{name}"}} 0.0
vllm:kv_cache_usage_perc{{engine="0",model_name="{name}"}} 0.25
""",
        }
        self.send_response(200 if self.path in pages else 404)
        self.end_headers()
        self.wfile.write(pages.get(self.path, "").encode())

    def do_POST(self) -> None:
        """Classify: the first label that the request allows, whatever the text."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        allowed = re.search(r'\("([^"]*)"', body.get("structured_outputs", {}).get("regex", ""))
        text = f'{{"label": "{allowed[1]}"}}' if allowed else "yes"
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "text": text, "finish_reason": "stop"}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"object": "chat.completion", "model": name, "choices": [choice]}).encode())

    def log_message(self, *_: object) -> None:
        return


def end(number: int, frame: object) -> None:
    (folder / f"{port}.term").write_text(told(f"{port}.busy", "0"))
    os._exit(0)


signal.signal(signal.SIGTERM, end)
(folder / f"{port}.part").write_text(json.dumps({"argv": argv, "env": dict(os.environ)}))
(folder / f"{port}.part").replace(folder / f"{port}.json")  # whole, for whoever looks
print("loading", path, flush=True)
if last_words := told("die", ""):
    print(last_words, flush=True)
    sys.exit(1)
if os.environ.get("FAKE_WORKER"):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
while (folder / "hold").exists():
    time.sleep(0.02)
ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
