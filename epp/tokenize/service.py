"""The tokenizer the engine of the picker is given: prompts in, exact token ids out, never an exception.

What happens to a prompt: the chat template renders it on the event loop (a few µs; one that takes longer is
started again on a thread), the text is cut and looked up in the prefix cache, and only what was not
there is encoded: on the loop if it is short, on a thread if it is long. Everything that can go wrong
makes the answer less exact and names the reason; docs/tokenization.md lists them.
"""

import asyncio
import logging
from collections.abc import Sequence
from time import perf_counter

from epp.config.model import TokenizeConfig
from epp.core.requests import ChatPrompt, Prompt, TextPrompt, TokenPrompt
from epp.core.tokens import Exactness, Tokenized
from epp.tokenize.chat import Rendered
from epp.tokenize.decoding import TokenDecoder, load_decoder
from epp.tokenize.errors import PromptError, Reason
from epp.tokenize.estimate import BYTES_PER_TOKEN, estimate_tokens, no_tokens
from epp.tokenize.loader import LoadFunction, ModelLoader, ModelStatus, Slot
from epp.tokenize.metrics import TokenizeMetrics
from epp.tokenize.model import LoadedModel
from epp.tokenize.pool import WorkPool
from epp.tokenize.prefixcache import EncodePlan, PrefixCache

_log = logging.getLogger(__name__)

_INLINE_RENDER_S = 0.02
"""A template may hold the event loop this long; the slowest ordinary one needs a tenth of it."""
_SLOW_BACKEND_SHARE = 16
"""``tokenizers`` is so many times slower than fastokens, so it gets that much less to do on the loop."""
_WIDE_BYTES = 3  # UTF-8 bytes of a character, at a guess, in text that is not ASCII
_ID_BYTES = 4
_UNKNOWN = "unknown"


class TokenizerService:
    """Tokenizes for all configured models (``epp.core.tokens.Tokenizer``). Belongs to one event loop.

    ``load`` replaces reading model folders, for tests.
    """

    def __init__(
        self, config: TokenizeConfig, metrics: TokenizeMetrics, load: LoadFunction | None = None
    ) -> None:
        self._config = config
        self._metrics = metrics
        self._loader = ModelLoader(config.models, metrics, load)
        self._cache = PrefixCache(config.prefix_cache_bytes)
        self._pool = WorkPool(config.threads, config.max_queued, config.deadline_s, metrics.queue_depth)
        self._decoders: dict[int, asyncio.Task[TokenDecoder]] = {}
        """By number of the model; read when first asked for, because pickers never ask."""

    async def start(self) -> None:
        """Begin loading the models; prompts are estimated until theirs is ready."""
        self._loader.start()

    async def tried(self) -> None:
        """Return once every model has loaded or failed for the first time."""
        await self._loader.tried()

    async def close(self) -> None:
        """Stop threads and tasks; prompts still waiting are answered without tokens."""
        self._pool.close()
        await asyncio.gather(*self._decoders.values(), return_exceptions=True)
        await self._loader.close()

    def models(self) -> tuple[ModelStatus, ...]:
        """Every configured model and its state, for readiness and debugging."""
        return tuple(slot.status() for slot in self._loader.slots)

    @property
    def ready(self) -> bool:
        """Whether every configured model is loaded (true if there is none)."""
        return all(slot.model is not None for slot in self._loader.slots)

    async def tokenize(self, model: str, prompt: Prompt) -> Tokenized:
        """Token ids of ``prompt`` as the engine serving ``model`` computes them. Never raises."""
        slot = self._loader.find(model)
        label = slot.config.name if slot else _UNKNOWN
        if isinstance(prompt, TokenPrompt):
            result = _given_tokens(prompt)
        elif slot is None or slot.model is None:
            result = estimate_tokens(prompt, _why_not_loaded(slot, bool(self._loader.slots)))
        else:
            result = await self._exact(label, slot.model, prompt)
        if result.degraded is not None:
            self._metrics.degraded(label, result.degraded)
        return result

    async def decoder(self, model: str) -> TokenDecoder | None:
        """How the ids of ``model`` become text; None: it is not loaded. Raises ``LoadError``."""
        slot = self._loader.find(model)
        loaded = slot.model if slot else None
        if loaded is None or loaded.folder is None:
            return None
        task = self._decoders.get(loaded.number)
        if task is None or (task.done() and task.exception() is not None):
            task = asyncio.create_task(asyncio.to_thread(load_decoder, loaded.folder))
            self._decoders[loaded.number] = task
        return await asyncio.shield(task)

    async def _exact(self, label: str, model: LoadedModel, prompt: ChatPrompt | TextPrompt) -> Tokenized:
        try:
            rendered = await self._text(label, model, prompt)
            if rendered.exact_chars is not None:
                return await self._partial(label, model, prompt, rendered.text, rendered.exact_chars)
            ids = await self._encode(label, model, rendered.text)
        except PromptError as error:
            _log.debug("%s: a prompt is routed without tokens: %s", label, error)
            return no_tokens(prompt, error.reason)
        if prompt.add_special_tokens:
            ids = b"".join((model.before, ids, model.after))
        return Tokenized(ids, Exactness.EXACT, len(ids) // _ID_BYTES)

    async def _partial(
        self, label: str, model: LoadedModel, prompt: ChatPrompt | TextPrompt, text: str, exact_chars: int
    ) -> Tokenized:
        end = model.cuts.last_cut(text[:exact_chars])
        ids = await self._encode(label, model, text[:end]) if end else b""
        if prompt.add_special_tokens and ids:
            ids = model.before + ids
        rest = (len(text) - end) // BYTES_PER_TOKEN
        return Tokenized(ids, Exactness.PARTIAL, len(ids) // _ID_BYTES + rest, Reason.MULTIMODAL)

    async def _text(self, label: str, model: LoadedModel, prompt: ChatPrompt | TextPrompt) -> Rendered:
        if isinstance(prompt, ChatPrompt):
            return await self._render(label, model, prompt)
        if not prompt.texts:
            raise PromptError(Reason.NO_PROMPT)
        return Rendered(prompt.texts[0])

    async def _render(self, label: str, model: LoadedModel, prompt: ChatPrompt) -> Rendered:
        if not model.templates:
            raise PromptError(Reason.NO_TEMPLATE)
        limit_s = self._config.render_deadline_s
        started_s = perf_counter()
        try:
            rendered = model.templates.render(prompt, min(limit_s, _INLINE_RENDER_S))
        except PromptError as error:
            if error.reason is not Reason.TEMPLATE_TIMEOUT or limit_s <= _INLINE_RENDER_S:
                raise
            rendered = await self._pool.run(lambda: model.templates.render(prompt, limit_s))
        self._metrics.rendered(label, perf_counter() - started_s)
        return rendered

    async def _encode(self, label: str, model: LoadedModel, text: str) -> bytes:
        started_s = perf_counter()
        plan = self._cache.plan(model.number, model.cuts, text)
        planned_s = perf_counter() - started_s
        if self._fits_loop(model, text, plan):
            ids, offsets, encoded_s = _timed_encode(model, plan.missing)
        else:
            ids, offsets, encoded_s = await self._pool.run(lambda: _timed_encode(model, plan.missing))
        started_s = perf_counter()
        whole = self._cache.complete(plan, model.number, ids, offsets)
        self._metrics.tokenized(
            label,
            planned_s + encoded_s + perf_counter() - started_s,
            plan.cached_tokens,
            len(ids) // _ID_BYTES,
        )
        self._metrics.cache_size(len(self._cache), self._cache.size_bytes)
        return whole

    def _fits_loop(self, model: LoadedModel, text: str, plan: EncodePlan) -> bool:
        limit = self._config.inline_bytes
        if model.not_fastokens is not None:
            limit //= _SLOW_BACKEND_SHARE
        return plan.missing_chars * (1 if text.isascii() else _WIDE_BYTES) <= limit


def _given_tokens(prompt: TokenPrompt) -> Tokenized:
    if len(prompt.tokens) % _ID_BYTES:
        return Tokenized(b"", Exactness.NONE, 0, Reason.BAD_TOKENS)
    return Tokenized(prompt.tokens, Exactness.EXACT, len(prompt.tokens) // _ID_BYTES)


def _why_not_loaded(slot: Slot | None, any_configured: bool) -> Reason:
    if slot is None:
        return Reason.UNKNOWN_MODEL if any_configured else Reason.NO_TOKENIZER
    return Reason.FAILED if slot.error else Reason.LOADING


def _timed_encode(model: LoadedModel, texts: Sequence[str]) -> tuple[bytes, Sequence[int], float]:
    started_s = perf_counter()
    try:
        ids, offsets = model.backend.encode(texts)
    except UnicodeEncodeError as error:
        raise PromptError(Reason.BAD_TEXT, "a lone surrogate") from error
    except Exception as error:
        raise PromptError(Reason.ENCODE_ERROR, f"{type(error).__name__}: {error}") from error
    return ids, offsets, perf_counter() - started_s
