"""``/tokenize`` and ``/detokenize`` in vLLM's forms, answered here where the model's tokenizer is."""

import asyncio
import logging
from array import array
from typing import Annotated, Any, Final, TypeAlias

import msgspec

from epp.core.errors import BadRequestError
from epp.core.tokens import Exactness
from epp.picking.names import ModelNames
from epp.tokenize.decoding import TokenDecoder
from epp.tokenize.errors import LoadError
from epp.tokenize.loader import LoadState
from epp.tokenize.service import TokenizerService
from epp.wire.openai import parse_request
from frontend.body import Body
from frontend.errors import bad_request
from frontend.serving.catalogue import ModelCatalogue

_log = logging.getLogger(__name__)
_MAX_IDS: Final = 1 << 20
_Id: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]


class TokenPages:
    """Answers, or None where only a worker can."""

    def __init__(self, tokenizer: TokenizerService, names: ModelNames, catalogue: ModelCatalogue) -> None:
        self._tokenizer = tokenizer
        self._names = names
        self._catalogue = catalogue

    def lacking(self, model: str) -> str:
        """Why prompts of ``model`` cannot be tokenized here now, in a few words; empty: they can."""
        base = self._names.resolve(model).base
        state = next((s.state for s in self._tokenizer.models() if s.name == base), None)
        return "" if state is LoadState.READY else f"tokenizer {state or 'not configured'}"

    async def tokenize(self, raw: bytes) -> dict[str, Any] | None:
        """``{"count", "max_model_len", "tokens", "token_strs"}`` of a prompt or a conversation; None: the
        tokenizer is not at hand, or cannot be exact for this prompt. Raises ApiError (400)."""
        body = Body(raw)
        try:
            request = parse_request("/tokenize", raw)
        except BadRequestError as error:
            raise bad_request(error.message) from error
        if request.prompt is None:
            return None
        base = self._names.resolve(request.model).base
        found = await self._tokenizer.tokenize(base, request.prompt)
        if found.exactness is not Exactness.EXACT:
            return None
        ids = array("I", found.tokens).tolist()
        pieces = None
        if body.get("return_token_strs", bool):
            decoder = await self._decoder(base)
            if decoder is None:
                return None
            pieces = [decoder.token_bytes(token).decode("utf-8", "replace") for token in ids]
        return {
            "count": len(ids),
            "max_model_len": self._catalogue.context_window(request.model or base),
            "tokens": ids,
            "token_strs": pieces,
        }

    async def detokenize(self, raw: bytes) -> dict[str, Any] | None:
        """``{"prompt"}`` of token ids, special tokens included; None: the tokenizer is not at hand.
        Raises ApiError (400)."""
        body = Body(raw)
        if "tokens" not in body:
            raise bad_request(
                "Failed to deserialize the JSON body into the target type: missing field `tokens`"
            )
        ids = body.get("tokens", list[_Id])
        if ids is None or len(ids) > _MAX_IDS:
            raise bad_request(
                f"Validation: The 'tokens' field must be a list of at most {_MAX_IDS} token ids."
            )
        base = self._names.resolve(body.get("model", str) or "").base
        decoder = await self._decoder(base)
        if decoder is None:
            return None
        text = await asyncio.to_thread(decoder.decode, ids, skip_special=False)
        return {"prompt": text}

    async def text(self, model: str, ids: list[int]) -> str | None:
        """Text of token ids, special tokens included; None: the tokenizer is not at hand."""
        decoder = await self._decoder(self._names.resolve(model).base)
        return None if decoder is None else decoder.decode(ids, skip_special=False)

    async def _decoder(self, base: str) -> TokenDecoder | None:
        try:
            return await self._tokenizer.decoder(base)
        except LoadError as error:
            _log.warning("%s: ids cannot be turned into text: %s", base, error)
            return None
