"""Hugging Face transformers as an engine: answers what a vLLM server would, in this process, on the CPU or one GPU.

    ask ──> rows that wait ──> a batch of one sampling, alike in length ──> generate, in a thread ──> chat completions
                                                   └─ it broke: both halves, until the row that breaks it is alone

Answers have the shape of vLLM's, log-probabilities included, and constraints are xgrammar's, as vLLM's are. The words
need not be the same: kernels differ, and in bfloat16, which is usual on a GPU, so does a row from batch to batch.
Whatever a request wishes for that cannot be granted here is refused, not ignored. Knows no job. torch, transformers and
xgrammar are imported when a model is loaded.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from analyze.core import Fate
from analyze.errors import UsageError
from analyze.prefixes import prompt_bytes
from analyze.records import CHAT_URL, Answer, Body, Failure, FailureKind, Outcome, Request
from analyze.runs.askers import OneLane

Device = Literal["cpu", "cuda"]

BATCH_SIZES: Mapping[Device, int] = {"cpu": 8, "cuda": 32}
"""Rows that are answered together. Tiny model, two cores: rows of 600 to 800 tokens 19/s by 1, 61/s by 8, 44/s by 32;
short ones 104, 380 and 515/s. 32 of 800 tokens take 0.3 GB more than 8, which a real model multiplies. Nobody has
measured 32 on a GPU; what is too much for its memory is halved."""

WINDOW = 4
"""Batches that are out at a time: one that is generated, and rows to choose the next one's from, alike in length."""

GATHER_S = 0.01
"""How long a batch that is not full waits for more rows: they come one by one, all within a millisecond or two."""

DEFAULT_CONTEXT = 8192
"""Tokens of prompt and answer, where the model takes as many; the same as of our servers."""

LEAST_LOGPROB = -9999.0  # vLLM's stand-in for minus infinity, which JSON has not

GRANTED = {
    "model",
    "messages",
    "max_tokens",
    "temperature",
    "structured_outputs",
    "logprobs",
    "top_logprobs",
    "chat_template_kwargs",
}
"""The fields of a request that are honoured; one that has others is refused."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are made. Rows that are answered together have it in common.

    `max_tokens` None: as many as fit. `temperature` 0: the likeliest token, always. `top_logprobs` None: log-
    probabilities are not wanted.
    """

    max_tokens: int | None = None
    temperature: float = 1.0
    regex: str | None = None
    top_logprobs: int | None = None

    @classmethod
    def of(cls, body: Body) -> Sampling:
        """Read it from a request. Raises ValueError for what cannot be granted."""
        refused = sorted(body.keys() - GRANTED)
        constraint = body.get("structured_outputs") or {}
        refused += sorted(f"structured_outputs.{name}" for name in constraint.keys() - {"regex"})
        if refused:
            raise ValueError(f"the engine hf cannot grant {', '.join(refused)}")
        temperature, max_tokens = body.get("temperature"), body.get("max_tokens")
        if temperature is not None and temperature < 0:
            raise ValueError(f"the temperature is {temperature}, less than 0")
        return cls(
            None if max_tokens is None else int(max_tokens),
            1.0 if temperature is None else float(temperature),
            constraint.get("regex"),
            int(body.get("top_logprobs") or 0) if body.get("logprobs") else None,
        )


# -- the model -----------------------------------------------------------------------------------------------------


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

    def prompt(self, body: Body) -> list[int]:
        """Return the tokens of a chat. Raises whatever the model's chat template raises of it."""
        wishes = body.get("chat_template_kwargs") or {}
        encoded = self.tokenizer.apply_chat_template(
            body["messages"], tokenize=True, add_generation_prompt=True, return_dict=True, **wishes
        )
        return [*encoded["input_ids"]]

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, grammar: Any, is_over: Callable[[], bool]
    ) -> list[Body]:
        """Answer all prompts together; return a chat completion for each. When `is_over`, what is there has to do.

        `grammar`: the compiled constraint, or None. Raises whatever torch does, out of memory for one.
        """
        import torch

        recorder = None if sampling.top_logprobs is None else _Recorder(sampling.top_logprobs)
        ids, mask = self._padded(prompts)
        with torch.inference_mode():
            sequences = self.network.generate(
                input_ids=ids,
                attention_mask=mask,
                generation_config=self._config(sampling, self.context - ids.shape[1]),
                logits_processor=[*_constraint(grammar), *([recorder] if recorder else [])],
                stopping_criteria=[lambda ids, _, **__: torch.full((len(ids),), is_over(), device=ids.device)],
            )
        if recorder:
            recorder.end(sequences)
        new = sequences[:, ids.shape[1] :].tolist()
        return [self._completion(row, len(prompts[row]), tokens, recorder) for row, tokens in enumerate(new)]

    def _padded(self, prompts: Sequence[Sequence[int]]) -> tuple[Any, Any]:
        """Return ids and mask of the prompts, which all end at the right: [prompts, longest]."""
        import torch

        longest = max(map(len, prompts))
        ids = [[self.pad] * (longest - len(prompt)) + [*prompt] for prompt in prompts]
        mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        return torch.tensor(ids, device=self.device), torch.tensor(mask, device=self.device)

    def _config(self, sampling: Sampling, room: int) -> Any:
        config = import_module("transformers").GenerationConfig
        # top_k and top_p say "all": transformers' own defaults cut at 50 tokens.
        drawn = {"do_sample": True, "temperature": sampling.temperature, "top_k": 0, "top_p": 1.0}
        how = drawn if sampling.temperature > 0 else {"do_sample": False}
        new = room if sampling.max_tokens is None else sampling.max_tokens
        return config(max_new_tokens=new, eos_token_id=[*self.stops], pad_token_id=self.pad, **how)

    def _completion(self, row: int, prompt_tokens: int, tokens: list[int], recorder: _Recorder | None) -> Body:
        end = next((at for at, token in enumerate(tokens) if token in self.stops), None)
        said = tokens if end is None else tokens[:end]
        counted = tokens if end is None else tokens[: end + 1]  # as servers count, the token that ends it too
        logprobs = None if recorder is None else {"content": self._logprobs(row, counted, recorder)}
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": self.tokenizer.decode(said, skip_special_tokens=True)},
            "logprobs": logprobs,
            "finish_reason": "length" if end is None else "stop",
        }
        usage = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": len(counted),
            "total_tokens": prompt_tokens + len(counted),
        }
        return {"object": "chat.completion", "model": self.name, "choices": [choice], "usage": usage}

    def _logprobs(self, row: int, tokens: list[int], recorder: _Recorder) -> list[dict[str, Any]]:
        """Return `choices[0].logprobs.content` of one answer."""
        others = [step[row] for step in recorder.others[: len(tokens)]]
        chosen = [step[row] for step in recorder.chosen[: len(tokens)]]
        texts = token_texts(self.tokenizer, tokens, [[token for token, _ in step] for step in others])
        return [
            {
                "token": text,
                "logprob": logprob,
                "top_logprobs": [{"token": t, "logprob": p} for t, (_, p) in zip(alternatives, step, strict=True)],
            }
            for (text, *alternatives), logprob, step in zip(texts, chosen, others, strict=True)
        ]


def token_texts(tokenizer: Any, tokens: Sequence[int], others: Sequence[Sequence[int]]) -> list[list[str]]:
    """Return what each token, and each of the others that could have stood there, adds to the text before it.

    A token that leaves a character unfinished adds nothing; the one that ends it, the whole character: together they
    are the text. Tokens are decoded behind the whole characters before them, since some begin with a blank that is lost
    at the beginning of a text.
    """
    texts, last, finished = [], 0, 0  # where the last whole characters begin, and end
    for step, (token, alternatives) in enumerate(zip(tokens, others, strict=True)):
        before, begun = tokens[last:finished], tokens[finished:step]
        ends = [[*before, *begun, one] for one in (token, *alternatives)]
        sofar, *decoded = tokenizer.batch_decode([before, *ends], clean_up_tokenization_spaces=False)
        texts.append(["" if text.endswith("\ufffd") else text[len(sofar) :] for text in decoded])
        if texts[-1][0]:
            last, finished = finished, step + 1
    return texts


class _Recorder:
    """A logits processor that keeps how likely the tokens were, as vLLM tells it: behind the constraint, before the
    temperature. Of each step it keeps the `top` likeliest; all scores of a batch of 32 would take 20 MB a token."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._last: Any = None
        self.others: list[list[list[tuple[int, float]]]] = []  # of a step, of a row: tokens and how likely
        self.chosen: list[list[float]] = []  # of a step, of a row

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        self.end(input_ids)
        self._last = scores.log_softmax(-1).clamp(min=LEAST_LOGPROB)
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


def device_of(environ: Mapping[str, str]) -> Device:
    """Return where a model is to be loaded: on the GPU where there is one, unless VLLM_DEVICE says otherwise.

    Raises UsageError where a GPU is asked for, or seems to be here, and cannot be used.
    """
    from analyze.servers.hardware import find_gpus

    wanted = environ.get("VLLM_DEVICE") or "auto"
    if wanted == "cpu":
        return "cpu"
    if find_gpus(environ):
        return "cuda"
    if wanted == "cuda":
        raise UsageError(
            "VLLM_DEVICE=cuda, but there is no sign of an NVIDIA GPU on this machine", cure="VLLM_DEVICE=cpu"
        )
    return "cpu"


def load(model: str, *, device: Device, name: str | None = None, max_model_len: int | None = None) -> Model:
    """Load a model: a folder, or a name on the Hugging Face hub. It goes by `name`, else by what it was asked for as.

    On a GPU it has its own precision; on the CPU float32, in which padding changes nothing (in bfloat16 12 of 64
    answers) and which every CPU computes fast. Raises UsageError where it cannot be loaded, or is no chat model.
    """
    try:
        torch, transformers, xgrammar = map(import_module, ("torch", "transformers", "xgrammar"))
    except ImportError as error:
        raise UsageError(f"the engine hf cannot work here: {error}", cure="pip install -e '.[hf]'") from error
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            f"there is a GPU, but torch {torch.__version__} cannot use it",
            cure="install a torch for CUDA (pytorch.org/get-started), or VLLM_DEVICE=cpu",
        )
    _hush(transformers)
    dtype = "auto" if device == "cuda" else torch.float32
    try:  # code that comes with a model is not run, and nobody is asked whether it may be
        tokenizer = transformers.AutoTokenizer.from_pretrained(model, trust_remote_code=False)
        unplaced = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=dtype, trust_remote_code=False)
        network = unplaced.to(device)
    except torch.OutOfMemoryError as error:
        raise UsageError(
            f"{model} is too large for this GPU: {error}",
            cure="a smaller --model; --engine fleet spreads one over several GPUs (--tensor-parallel-size)",
        ) from error
    except Exception as error:  # somebody's files, which may be broken in any way
        raise UsageError(
            f"{model} cannot be loaded: {error}",
            cure="--model is a folder with a model, or a name on the Hugging Face hub, if that can be reached",
        ) from error
    if tokenizer.chat_template is None:
        raise UsageError(f"{model} has no chat template", cure="--model must be one that is made for chats")
    config = network.config.get_text_config()
    stops = _stops(tokenizer, network.generation_config)
    pad = next((token for token in (tokenizer.pad_token_id, *stops) if token is not None), 0)
    # A model's own taste in sampling (Qwen2.5: top_p 0.8, repetition_penalty 1.05) stays out, as on our servers.
    network.generation_config = transformers.GenerationConfig(eos_token_id=[*stops], pad_token_id=pad)
    vocabulary = xgrammar.TokenizerInfo.from_huggingface(
        tokenizer, vocab_size=config.vocab_size, stop_token_ids=[*stops]
    )
    return Model(
        name=name or model,
        device=device,
        context=_context(model, getattr(config, "max_position_embeddings", None), max_model_len),
        stops=stops,
        pad=pad,
        tokenizer=tokenizer,
        network=network.eval(),
        compiler=xgrammar.GrammarCompiler(vocabulary),
    )


def _hush(transformers: Any) -> None:
    """Keep warnings off the console, and bars where there is no terminal."""
    transformers.utils.logging.set_verbosity_error()
    if not os.isatty(2):
        transformers.utils.logging.disable_progress_bar()


def _stops(tokenizer: Any, config: Any) -> tuple[int, ...]:
    """Return what ends an answer: to the tokenizer one token, to the model perhaps several."""
    own = config.eos_token_id
    several = own if isinstance(own, list) else [own]
    return tuple(dict.fromkeys(token for token in (tokenizer.eos_token_id, *several) if token is not None))


def _context(model: str, longest: int | None, wanted: int | None) -> int:
    if wanted is not None and longest is not None and wanted > longest:
        raise UsageError(f"{model} takes {longest} tokens, not {wanted}", cure=f"--max-model-len {longest}, or less")
    return wanted or min(DEFAULT_CONTEXT, longest or DEFAULT_CONTEXT)


# -- who is asked --------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Row:
    """A row that waits. `size` is what its prompt's length in tokens goes by."""

    request: Request
    sampling: Sampling
    size: int
    reply: asyncio.Future[Outcome]
    since: float = field(default_factory=time.monotonic)


class HfAsker(OneLane):
    """Answers rows with a loaded model (`runs.askers.Asker`), `batch_size` at a time; `in_flight` may wait here."""

    def __init__(self, model: Model, *, batch_size: int | None = None, in_flight: int | None = None) -> None:
        suits = batch_size or BATCH_SIZES[model.device]
        super().__init__(in_flight or WINDOW * suits)
        self.batch_size = min(suits, self.in_flight)
        self._model = model
        self.model = model.name
        self._waiting: list[_Row] = []  # in the order in which they came
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="analyze-hf")
        self._is_closed = threading.Event()
        self._serving: asyncio.Task[None] | None = None

    async def ask(self, request: Request, lane: Hashable = None, *, fate: Fate | None = None) -> Outcome:
        if request.url != CHAT_URL:
            return _failure(request, "invalid", f"the engine hf is asked for chats only, not {request.url}")
        try:
            sampling = Sampling.of(request.body)
        except (ValueError, TypeError, AttributeError) as error:
            return _failure(request, "invalid", str(error))
        reply: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Row(request, sampling, len(prompt_bytes(request.body)), reply))
        self._arrived.set()
        if self._serving is None:
            self._serving = asyncio.create_task(self._serve())
        return await reply

    async def aclose(self) -> None:
        """End, within a token of what is generated."""
        self._is_closed.set()
        if self._serving is not None:
            self._serving.cancel()
            with suppress(asyncio.CancelledError):
                await self._serving
        self._thread.shutdown()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            if len(self._waiting) < self.batch_size:
                await asyncio.sleep(GATHER_S)
            if not (batch := self._next_batch()):
                continue
            try:
                outcomes = await loop.run_in_executor(self._thread, self._outcomes, batch)
            except Exception as error:  # noqa: BLE001 - a bug of ours: whoever waits raises it
                _give_up(batch, error)
                continue
            for row, outcome in zip(batch, outcomes, strict=True):
                if not row.reply.done():
                    row.reply.set_result(outcome)

    def _next_batch(self) -> list[_Row]:
        """Take the row that has waited longest, and those most alike in length that are sampled as it is."""
        self._waiting = [row for row in self._waiting if not row.reply.done()]  # a second Ctrl-C cancels them
        batch: list[_Row] = []
        if self._waiting:
            first = self._waiting[0]
            alike = sorted((r for r in self._waiting if r.sampling == first.sampling), key=lambda row: row.size)
            start = min(alike.index(first), max(0, len(alike) - self.batch_size))
            batch = alike[start : start + self.batch_size]
            self._waiting = [row for row in self._waiting if row not in batch]
        if not self._waiting:
            self._arrived.clear()
        return batch

    # -- in the thread ---------------------------------------------------------------------------------------------

    def _outcomes(self, batch: Sequence[_Row]) -> list[Outcome]:
        """Return an outcome for each row, in their order."""
        sampling = batch[0].sampling
        try:
            grammar = None if sampling.regex is None else self._model.compiler.compile_regex(sampling.regex)
        except RuntimeError as error:
            return [_failure(row.request, "invalid", f"no grammar: {error}") for row in batch]
        prompts = [self._prompt(row) for row in batch]
        fitting = [(row, prompt) for row, prompt in zip(batch, prompts, strict=True) if not isinstance(prompt, Failure)]
        answered = iter(self._generated(fitting, grammar))
        return [prompt if isinstance(prompt, Failure) else next(answered) for prompt in prompts]

    def _prompt(self, row: _Row) -> list[int] | Failure:
        try:
            prompt = self._model.prompt(row.request.body)
        except Exception as error:  # noqa: BLE001 - a model's own template, which may raise anything
            return _failure(row.request, "invalid", f"the model's chat template: {error}")
        answer, context = row.sampling.max_tokens, self._model.context
        if len(prompt) + (answer or 1) <= context:
            return prompt
        told = f"the maximum context length is {context} tokens; the prompt has {len(prompt)}, the answer {answer or 1}"
        return _failure(row.request, "too_long", told)

    def _generated(self, rows: Sequence[tuple[_Row, list[int]]], grammar: Any) -> list[Outcome]:
        """Return an outcome for each row. Where a batch breaks, or is too much for the memory, it is halved."""
        if not rows:
            return []
        try:
            prompts = [prompt for _, prompt in rows]
            bodies = self._model.generate(prompts, rows[0][0].sampling, grammar, self._is_closed.is_set)
            return [_answer(row, body) for (row, _), body in zip(rows, bodies, strict=True)]
        except Exception as error:  # noqa: BLE001 - the border to somebody's model, which may raise anything
            problem = f"{type(error).__name__}: {error}"
        if len(rows) == 1:
            return [_failure(rows[0][0].request, "server", problem)]
        half = len(rows) // 2
        return [*self._generated(rows[:half], grammar), *self._generated(rows[half:], grammar)]


def _answer(row: _Row, body: Body) -> Answer:
    return Answer(row.request.id, row.request.asked, body, latency_s=round(time.monotonic() - row.since, 4))


def _failure(request: Request, kind: FailureKind, message: str) -> Failure:
    return Failure(request.id, request.asked, kind, message, attempts=1)


def _give_up(batch: Sequence[_Row], error: Exception) -> None:
    for row in batch:
        if not row.reply.done():
            row.reply.set_exception(error)
