"""A model that is loaded: it answers a batch of prompts as a vLLM server would, log-probabilities included.

Knows no queue and no job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import takewhile
from typing import Any, Literal

from analyze.hf.sampling import Sampling
from analyze.hf.tokenizing import body_tokens, token_texts
from analyze.records import Body

Device = Literal["cpu", "cuda"]

LEAST_LOGPROB = -9999.0  # vLLM's stand-in for minus infinity, which JSON has not


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is loaded. `context`: tokens that prompt and answer have room for; `stops`: tokens that end an
    answer."""

    name: str
    device: Device
    context: int
    stops: tuple[int, ...]
    pad: int
    tokenizer: Any
    network: Any
    compiler: Any  # xgrammar's; it keeps what it has compiled
    words: Sequence[bytes]  # what each token is, also of unfinished characters

    def prompt(self, body: Body) -> list[int]:
        """Return the tokens of a chat, or of plain text. Raises whatever the model's chat template raises of it."""
        return body_tokens(self.tokenizer, body)

    def tokenizing(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Answer as a server's /tokenize or /detokenize would (`tokens.Post`): None for what the tokenizer refuses."""
        try:
            if path == "/detokenize":
                text = self.tokenizer.decode(body["tokens"], clean_up_tokenization_spaces=False)
                return {"prompt": text}
            if "prompt" in body:
                return {"tokens": self.tokenizer.encode(body["prompt"], add_special_tokens=False)}
            ids = self.prompt({"messages": body["messages"]})
            return {"tokens": ids, "token_strs": self.tokenizer.convert_ids_to_tokens(ids)}
        except Exception:  # noqa: BLE001 - somebody's tokenizer and template, which may raise anything
            return None

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, grammar: Any, is_over: Callable[[], bool]
    ) -> list[Body]:
        """Answer all prompts together; return a completion for each. When `is_over`, what is there has to do.

        `grammar`: the compiled constraint, or None. Raises whatever torch does, out of memory for one.
        """
        import torch

        recorder = None if sampling.top_logprobs is None else _Recorder(sampling.top_logprobs, sampling.token_ids)
        ids, mask = self._padded(prompts)
        with torch.inference_mode():
            sequences = self.network.generate(
                input_ids=ids,
                attention_mask=mask,
                generation_config=self._config(sampling, self.context - ids.shape[1]),
                logits_processor=[*_constraint(grammar), *([recorder] if recorder else [])],
                stopping_criteria=[lambda ids, _, **__: torch.full((len(ids),), is_over(), device=ids.device)],
                tokenizer=self.tokenizer if sampling.stop else None,
            )
        if recorder:
            recorder.end(sequences)
        new = sequences[:, ids.shape[1] :].tolist()
        return [
            self._completion(row, len(prompt), new[row * sampling.n : (row + 1) * sampling.n], sampling, recorder)
            for row, prompt in enumerate(prompts)
        ]

    def _padded(self, prompts: Sequence[Sequence[int]]) -> tuple[Any, Any]:
        """Return ids and mask of the prompts, which all end at the right: [prompts, longest]."""
        import torch

        longest = max(map(len, prompts))
        ids = [[self.pad] * (longest - len(prompt)) + [*prompt] for prompt in prompts]
        mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        return torch.tensor(ids, device=self.device), torch.tensor(mask, device=self.device)

    def _config(self, sampling: Sampling, room: int) -> Any:
        config = import_module("transformers").GenerationConfig
        # top_k and top_p are always said: transformers' own defaults cut at 50 tokens.
        drawn = {
            "do_sample": True,
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "min_p": sampling.min_p or None,
            "num_return_sequences": sampling.n,
        }
        how = drawn if sampling.temperature > 0 else {"do_sample": False}
        new = room if sampling.max_tokens is None else sampling.max_tokens
        return config(
            max_new_tokens=new,
            min_new_tokens=sampling.min_tokens or None,
            repetition_penalty=sampling.repetition_penalty,
            stop_strings=[*sampling.stop] or None,
            eos_token_id=[*self.stops],
            pad_token_id=self.pad,
            **how,
        )

    def _completion(
        self, row: int, prompt_tokens: int, answers: list[list[int]], sampling: Sampling, recorder: _Recorder | None
    ) -> Body:
        choices, written = [], 0
        for index, tokens in enumerate(answers):
            end = next((at for at, token in enumerate(tokens) if token in self.stops), None)
            said = tokens if end is None else tokens[:end]
            counted = tokens if end is None else tokens[: end + 1]  # as servers count, the token that ends it too
            text, is_stopped = _before_stop(self.tokenizer.decode(said, skip_special_tokens=True), sampling.stop)
            if is_stopped and end is None:  # while others of the batch went on it was filled up
                counted = tokens[: len(tokens) - sum(1 for _ in takewhile(self.pad.__eq__, reversed(tokens)))]
            told = None
            if recorder is not None:
                told = {"content": self._logprobs(row, counted, recorder, as_ids=sampling.as_ids)}
            choice = {
                "index": index,
                "message": {"role": "assistant", "content": text},
                "logprobs": told,
                "finish_reason": "length" if end is None and not is_stopped else "stop",
            }
            choices.append(choice)
            written += len(counted)
        usage = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": written,
            "total_tokens": prompt_tokens + written,
        }
        return {"object": "chat.completion", "model": self.name, "choices": choices, "usage": usage}

    def _logprobs(self, row: int, tokens: list[int], recorder: _Recorder, *, as_ids: bool) -> list[dict[str, Any]]:
        """Return `choices[0].logprobs.content` of one answer."""
        others = [step[row] for step in recorder.others[: len(tokens)]]
        chosen = [step[row] for step in recorder.chosen[: len(tokens)]]
        numbers = [[token for token, _ in step] for step in others]
        if as_ids:
            texts = [[f"token_id:{one}" for one in (token, *step)] for token, step in zip(tokens, numbers, strict=True)]
        else:
            texts = token_texts(self.tokenizer, tokens, numbers)
        told = []
        for token, logprob, step, (text, *alternatives) in zip(tokens, chosen, others, texts, strict=True):
            top = [self._logprob(t, one, p) for t, (one, p) in zip(alternatives, step, strict=True)]
            told.append({**self._logprob(text, token, logprob), "top_logprobs": top})
        return told

    def _logprob(self, text: str, token: int, logprob: float) -> dict[str, Any]:
        return {"token": text, "logprob": logprob, "bytes": [*self.words[token]]}


def _before_stop(text: str, stop: tuple[str, ...]) -> tuple[str, bool]:
    """Return what stands before the first of the texts that end an answer, and whether there is one."""
    starts = [start for start in map(text.find, stop) if start >= 0]
    return (text[: min(starts)], True) if starts else (text, False)


class _Recorder:
    """A logits processor that keeps how likely the tokens were, as vLLM tells it: behind the constraint, before the
    temperature. Of each step it keeps the `top` likeliest, or those of `wanted`, if there are any; all scores of a
    batch of 32 would take 20 MB a token."""

    def __init__(self, top: int, wanted: Sequence[int]) -> None:
        self._top, self._wanted = top, [*wanted]
        self._last: Any = None
        self.others: list[list[list[tuple[int, float]]]] = []  # of a step, of a row: tokens and how likely
        self.chosen: list[list[float]] = []  # of a step, of a row

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        self.end(input_ids)
        self._last = scores.log_softmax(-1).clamp(min=LEAST_LOGPROB)
        if self._wanted:
            self.others.append([[*zip(self._wanted, row, strict=True)] for row in self._last[:, self._wanted].tolist()])
            return scores
        likeliest = self._last.topk(self._top)
        pairs = zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
        self.others.append([[*zip(tokens, values, strict=True)] for tokens, values in pairs])
        return scores

    def end(self, sequences: Any) -> None:
        """Hear which tokens were chosen last: the right-most."""
        if self._last is not None:
            self.chosen.append(self._last.gather(1, sequences[:, -1:])[:, 0].tolist())


def _constraint(grammar: Any) -> list[Any]:
    if grammar is None:
        return []
    from xgrammar.contrib.hf import LogitsProcessor

    return [LogitsProcessor(grammar)]
