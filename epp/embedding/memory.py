"""Between C memory and values: requests are read, answers written. ``ffi`` and ``lib`` are cffi's."""

from typing import Any, Final

from epp.core.outcomes import PickInput
from epp.embedding.answer import Answer
from epp.embedding.status import CallError, Status

ASK_ONLY: Final = 1
_SUBSET: Final = 2
_DEFAULT_METHOD: Final = "POST"
_ID_BYTES: Final = 4
_TEXTS: Final = ("destination", "prefill_destination", "request_id", "reason", "degraded")
"""Fields of an answer that are text in the result under the same name."""


class Memory:
    """Reads and writes the structs of ``epp_request.h``."""

    def __init__(self, ffi: Any, lib: Any) -> None:
        self._ffi = ffi
        self._allocate = lib.epp_embedded_allocate

    # --- in -------------------------------------------------------------------------------------------

    def bytes_of(self, pointer: Any, n_bytes: int) -> bytes:
        """A copy; the caller's memory is only borrowed."""
        return bytes(self._ffi.buffer(pointer, n_bytes)) if n_bytes else b""

    def request(self, raw: Any) -> PickInput:
        """An ``epp_request_input``. Raises CallError for texts that are not UTF-8."""
        return PickInput(
            method=self._text(raw.method, "method") or _DEFAULT_METHOD,
            path=self._text(raw.path, "path"),
            headers=self._headers(raw),
            body=self.bytes_of(raw.body.bytes, raw.body.n_bytes) or None,
            subset=self._subset(raw) if raw.flags & _SUBSET else None,
            request_id=self._text(raw.request_id, "request id"),
        )

    def _headers(self, raw: Any) -> dict[str, str]:
        """Header values may be any bytes on the wire; what is not UTF-8 in them means nothing to routing."""
        pairs = (raw.headers[i] for i in range(raw.n_headers))
        return {self._loose(pair.name).lower(): self._loose(pair.value) for pair in pairs}

    def _subset(self, raw: Any) -> tuple[str, ...]:
        return tuple(self._text(raw.subset[i], "subset") for i in range(raw.n_subset))

    def _loose(self, raw: Any) -> str:
        return self.bytes_of(raw.bytes, raw.n_bytes).decode("utf-8", "replace")

    def _text(self, raw: Any, what: str) -> str:
        try:
            return self.bytes_of(raw.bytes, raw.n_bytes).decode()
        except UnicodeDecodeError as error:
            raise CallError(Status.ARGUMENT, f"The {what} is not UTF-8 text.") from error

    # --- out ------------------------------------------------------------------------------------------

    def write(self, result: Any, answer: Answer) -> None:
        """Fill an ``epp_request_result``; all it points to lies in one allocation. Raises CallError."""
        arena = self._arena(answer)
        result.memory = arena.start
        # Widest alignment first: tables, token ids, texts.
        headers = arena.table("epp_request_header", len(answer.set_headers))
        removed = arena.table("epp_request_text", len(answer.remove_headers))
        result.tokens = arena.ids(answer.tokens)
        result.n_tokens = len(answer.tokens) // _ID_BYTES
        result.set_headers, result.n_set_headers = headers, len(answer.set_headers)
        result.remove_headers, result.n_remove_headers = removed, len(answer.remove_headers)
        for i, (name, value) in enumerate(answer.set_headers):
            arena.text(headers[i].name, name.encode())
            arena.text(headers[i].value, value.encode())
        for i, name in enumerate(answer.remove_headers):
            arena.text(removed[i], name.encode())
        for name in _TEXTS:
            arena.text(getattr(result, name), getattr(answer, name).encode())
        arena.text(result.body, answer.body)
        _write_numbers(result, answer)

    def write_text(self, target: Any, text: bytes) -> None:
        """Fill an ``epp_request_text`` that the caller will own; raises CallError."""
        _Arena(self._ffi, self._room(len(text) + 1)).text(target, text)

    def _room(self, n_bytes: int) -> Any:
        start = self._allocate(n_bytes)
        if start == self._ffi.NULL:
            raise CallError(Status.MEMORY, f"No room for a result of {n_bytes} bytes.")
        return start

    def _arena(self, answer: Answer) -> "_Arena":
        tables = (
            len(answer.set_headers) * self._ffi.sizeof("epp_request_header"),
            len(answer.remove_headers) * self._ffi.sizeof("epp_request_text"),
        )
        texts = (
            *(getattr(answer, name) for name in _TEXTS),
            *answer.remove_headers,
            *(text for pair in answer.set_headers for text in pair),
        )
        body_bytes = len(answer.tokens) + len(answer.body) + 1
        n_bytes = sum(tables) + body_bytes + sum(len(text.encode()) + 1 for text in texts)
        return _Arena(self._ffi, self._room(n_bytes))


def _write_numbers(result: Any, answer: Answer) -> None:
    result.http_status = answer.http_status
    result.booking = answer.booking
    result.worker_id, result.rank = answer.worker
    result.exactness = answer.exactness
    result.prompt_tokens = answer.prompt_tokens
    result.cached_tokens = answer.cached_tokens
    result.predicted_ttft_s = answer.predicted_ttft_s
    if answer.prefill is not None:
        result.split = 1
        result.prefill_worker_id, result.prefill_rank = answer.prefill


class _Arena:
    """One allocation, given away from its front."""

    def __init__(self, ffi: Any, start: Any) -> None:
        self._ffi = ffi
        self._free = ffi.cast("char *", start)
        self.start = start

    def table(self, kind: str, n_items: int) -> Any:
        """Room for structs; their texts come later."""
        table = self._ffi.cast(f"{kind} *", self._free)
        self._free += n_items * self._ffi.sizeof(kind)
        return table

    def ids(self, tokens: bytes) -> Any:
        """Token ids; NULL when there are none."""
        return self._ffi.cast("uint32_t *", self._put(tokens)) if tokens else self._ffi.NULL

    def text(self, target: Any, text: bytes) -> None:
        """A text, ended by NUL."""
        target.bytes, target.n_bytes = self._put(text + b"\0"), len(text)

    def _put(self, data: bytes) -> Any:
        place = self._free
        self._ffi.memmove(place, data, len(data))
        self._free += len(data)
        return place
