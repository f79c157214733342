"""Asks for log-probabilities beside the answer and keeps those of the verdict. Knows no file, and nobody who answers.

What a row asks, and the hash of it, stay the same with and without: journals of either kind continue each other. A
server or client that will not have it is asked again without; if nobody has given any yet, all the rest are asked
without too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from analyze.judge.probabilities import LOGPROBS, verdict_only
from analyze.records import Answer, Failure, Outcome, Request
from analyze.runs.replies import Ask

_OF_THE_MOMENT = frozenset({408, 429, 503})


class WithLogProbabilities:
    """Goes around an asking (`runs.replies.Around`). `wanted` tells of which rows log-probabilities are of use."""

    def __init__(self, wanted: Callable[[Request], bool]) -> None:
        self._wanted = wanted
        self._is_refused = self._is_given = False

    def __call__(self, ask: Ask) -> Ask:
        async def ask_with(request: Request) -> Outcome:
            if self._is_refused or not self._wanted(request):
                return await ask(request)
            first = await ask(request._replace(body={**request.body, **LOGPROBS}))
            if isinstance(first, Answer):
                self._is_given = True
                return replace(first, body=verdict_only(first.body))
            if not self._may_be_refused(first):
                return first
            second = await ask(request)
            self._is_refused |= isinstance(second, Answer) and not self._is_given
            return replace(second, attempts=first.attempts + second.attempts)

        return ask_with

    def _may_be_refused(self, failure: Failure) -> bool:
        """Whether log-probabilities may be what the server, or a client's signature, refuses.

        Once they were given, only a refusal that names them counts: servers of a fleet may differ.
        """
        if "logprobs" in failure.message:
            return True
        status = failure.status_code
        return not self._is_given and failure.kind != "too_long" and status is not None and status not in _OF_THE_MOMENT
