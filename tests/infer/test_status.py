"""`analyze runs OUTPUT` of an inference: how its rows stand, from its files alone."""

from __future__ import annotations

import json

from analyze.status import main
from tests.infer.conftest import Infer, questions


def test_runs_shows_how_an_inference_stands(infer: Infer) -> None:
    infer.task(rows=[*questions(5), {"question": "bad"}, {"none": 1}])
    for server in infer.servers:
        server.refuse = lambda body: 400 if "bad" in str(body) else None
    infer.run("--tasks", "3")
    assert main(["out", "--json"]) == 0
    told = json.loads(infer.capture.readouterr().out)
    (run,) = told if isinstance(told, list) else [told]
    assert run["job"] == "infer" and run["state"] == "finished"
    counts = run["counts"]
    assert (counts["ok"], counts["invalid"], counts["rejected"], counts["left"]) == (5, 1, 1, 0)
    assert main(["out"]) == 0 and "400" in infer.capture.readouterr().out
