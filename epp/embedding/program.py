"""The functions of ``cabi/embedding/embedded.h``: pickers by number, failures as statuses and sentences."""

import atexit
import functools
import gc
import io
import itertools
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

from epp.config.errors import ConfigError
from epp.config.load import Loaded
from epp.core.outcomes import Ending
from epp.embedding.configuration import read
from epp.embedding.memory import ASK_ONLY, Memory
from epp.embedding.session import Session
from epp.embedding.status import CallError, Status, closed
from epp.telemetry.logs import FieldLog, LineWriter, configure

_ENDINGS: Final = (Ending.COMPLETED, Ending.CLIENT_GONE, Ending.ERROR)
"""By ``epp_request_ending``."""
_QUIET: Final = "warning"
"""Log level nobody asked for: a library speaks when something is wrong."""

_log = logging.getLogger(__name__)


def install(ffi: Any, lib: Any) -> None:
    """Define the functions; ``ffi`` and ``lib`` are the shared library's own."""
    program = _Program(ffi, lib)
    for name in ("open", "wait_ready", "select", "finish", "renew", "metrics", "close"):
        function = _guarded(ffi, lib.epp_embedded_say, getattr(program, name))
        ffi.def_extern(name=f"epp_embedded_{name}", error=Status.INTERNAL + 1)(function)
    atexit.register(program.close_all)
    os.register_at_fork(after_in_child=program.forget_all)


class _Program:
    """The open pickers of this process. Methods return a status and a sentence, or raise."""

    def __init__(self, ffi: Any, lib: Any) -> None:
        self._memory = Memory(ffi, lib)
        self._lock = threading.Lock()
        self._sessions: dict[int, Session] = {}
        self._parents: list[Session] = []  # kept: what they would close on their end is the parent's too
        self._numbers = itertools.count(1)
        self._writer = LineWriter(sys.stderr or io.StringIO())
        self._configured = False

    def open(self, config: Any, n_config: int, ours: int, out: Any) -> tuple[Status, str]:
        """Start a picker."""
        given = read(self._memory.bytes_of(config, n_config), os.environ)
        log = self._prepare(given.loaded) if ours else FieldLog(self._writer, json=False, enabled=False)
        for warning in given.loaded.warnings:
            _log.warning(warning)
        session = Session(given, self._writer, log)
        with self._lock:
            number = next(self._numbers)
            self._sessions[number] = session
        out[0] = number
        return Status.OK, ""

    def wait_ready(self, picker: int, deadline_s: float) -> tuple[Status, str]:
        """Wait for workers and tokenizers."""
        self._session(picker).wait_ready(deadline_s)
        return Status.OK, ""

    def select(self, picker: int, request: Any, result: Any) -> tuple[Status, str]:
        """Choose for one request."""
        asked, asks_only = self._memory.request(request), bool(request.flags & ASK_ONLY)
        book = asked.body is not None and not asks_only
        session = self._session(picker)
        answer = session.select(asked, book=book, record=not asks_only, deadline_s=request.deadline_s)
        self._memory.write(result, answer)
        return answer.status, answer.reason

    def finish(self, picker: int, booking: int, ending: int) -> tuple[Status, str]:
        """A request ended."""
        self._session(picker).finish(booking, _ENDINGS[ending])
        return Status.OK, ""

    def renew(self, picker: int, booking: int) -> tuple[Status, str]:
        """A request goes on."""
        self._session(picker).renew(booking)
        return Status.OK, ""

    def metrics(self, picker: int, page: Any) -> tuple[Status, str]:
        """The metrics page of a picker."""
        self._memory.write_text(page, self._session(picker).metrics())
        return Status.OK, ""

    def close(self, picker: int) -> tuple[Status, str]:
        """Stop a picker."""
        with self._lock:
            session = self._sessions.pop(picker, None)
        if session is None:
            raise closed()
        session.close()
        return Status.OK, ""

    def close_all(self) -> None:
        """A host that runs Python itself is ending."""
        for picker in tuple(self._sessions):
            try:
                self.close(picker)
            except CallError as error:
                _log.warning("at exit: %s", error)

    def forget_all(self) -> None:
        """In a child after a fork: the threads of all pickers are in the parent."""
        self._lock = threading.Lock()
        self._parents.extend(self._sessions.values())
        self._sessions = {}
        self._writer.after_fork()

    def _session(self, picker: int) -> Session:
        session = self._sessions.get(picker)
        if session is None:
            raise closed()
        return session

    def _prepare(self, loaded: Loaded) -> FieldLog:
        """In an interpreter of our own, logs and garbage collection are ours; the first picker decides."""
        telemetry = loaded.config.telemetry
        level = telemetry.log_level if loaded.sources["telemetry.log_level"].is_given else _QUIET
        with self._lock:
            if not self._configured:
                self._writer, self._picks = configure(
                    level, telemetry.log_format, sys.stderr or io.StringIO()
                )
                self._configured = True
                _spare_collections()
        return self._picks


def _spare_collections() -> None:
    """Keep what start-up made out of garbage collection: a full pass over it would stall requests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _guarded(ffi: Any, say: Any, function: Callable[..., tuple[Status, str]]) -> Callable[..., int]:
    """As C calls it: the last argument takes the sentence, the answer is a status plus 1."""

    @functools.wraps(function)
    def call(*arguments: Any) -> int:
        *given, room = arguments
        status, sentence = _outcome(function, given)
        if status is not Status.OK:
            say(room, ffi.from_buffer(sentence.replace("\0", " ").encode() + b"\0"))
        return status + 1

    return call


def _outcome(function: Callable[..., tuple[Status, str]], given: list[Any]) -> tuple[Status, str]:
    try:
        return function(*given)
    except CallError as error:
        return error.status, str(error)
    except ConfigError as error:
        return Status.CONFIG, str(error)
    except MemoryError:
        return Status.MEMORY, "There is no memory for this call."
    except Exception as error:  # noqa: BLE001 -- an exception cannot cross into C
        _log.exception("%s failed", function.__name__)
        return Status.INTERNAL, f"{type(error).__name__}: {error}"
