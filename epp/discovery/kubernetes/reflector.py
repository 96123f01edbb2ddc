"""One kind of object, listed once and then watched: a local picture of what the API server has.

A watch that ends goes on where it ended. One whose place the server has forgotten (``410 Gone``), any that
could not be opened and any that the server ended with an error is followed by a new list: the server may be
another one by then, or may fail at this place for ever. While it
cannot be reached or refuses, the picture stays and ``problem`` says why; attempts lie up to ten seconds
apart, scattered, and further if the server asks for it (``Retry-After``).
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Final, Protocol

import msgspec

from epp.discovery.kubernetes.access import AccessError
from epp.discovery.kubernetes.client import RefusedError
from epp.discovery.kubernetes.listing import GONE, Client, ExpiredError, Found, Listing, expired, list_all
from epp.discovery.source import DiscoveryMetrics
from epp.net.http import FetchError
from epp.wire.kubernetes.api import (
    ApiFormatError,
    Event,
    EventKind,
    read_event,
    read_status,
    target,
    version_in,
)

_IDLE_S: Final = 150.0
"""Bookmarks come about every minute; a watch without a byte for longer is opened anew."""
_FIRST_PAUSE_S: Final = 0.2
_MAX_PAUSE_S: Final = 10.0
_MAX_ASKED_PAUSE_S: Final = 60.0
_LASTED_S: Final = 1.0
"""A watch that held this long ends a row of failures, and is opened again at once."""
_ABSENT: Final = 404
_NOT_SHOWN: Final = (403, _ABSENT)
"""Of two versions of a kind, one may be neither installed nor allowed."""
LOOK_S: Final = 30.0
"""What may appear later is looked for this often."""

_log = logging.getLogger(__name__)


class _EndedError(Exception):
    """The server ended the watch with an error."""


class Sink(Protocol):
    """Keeps the picture; its methods do not raise, and are called one after the other."""

    async def replace(self, listing: Listing, objects: Sequence[msgspec.Raw]) -> None:
        """These are all objects there are."""
        ...

    def apply(self, kind: EventKind, data: msgspec.Raw) -> None:
        """One object is new, changed or gone (``DELETED``)."""
        ...


class Reflector:
    """See the module's preface. One of several listings is followed: the first that has an object, else the
    first whose kind the server knows. While it is not the first of all, or is empty, the others are looked at
    now and then."""

    def __init__(
        self,
        client: Client,
        listings: tuple[Listing, ...],
        sink: Sink,
        metrics: DiscoveryMetrics,
        *,
        watch_s: float = 300.0,
        look_s: float = LOOK_S,
        optional: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``watch_s`` is about how long one watch lasts, ``look_s`` the pause between two looks for what is
        not there. ``optional``: that the kind is not installed, or may not be read, is no problem."""
        self._client = client
        self._listings = listings
        self._sink = sink
        self._metrics = metrics
        self._watch_s = watch_s
        self._look_s = look_s
        self._optional = optional
        self._clock = clock
        self._sleep = sleep
        self._listing = listings[0]
        self._version = ""
        """The last one known whole; empty: nothing is."""
        self._is_empty = True
        self._told = False
        """Whether the log says that something is wrong."""
        self.problem: str | None = "the Kubernetes API was not asked yet"
        """Why the picture may be old, in one sentence; None: it is not."""

    async def run(self) -> None:
        """List and watch until cancelled."""
        pause_s = _FIRST_PAUSE_S
        while True:
            began_s, asked_s, failed = self._clock(), 0.0, False
            try:
                await self._follow()
            except ExpiredError:
                self._version = ""
            except RefusedError as error:
                failed = True
                if self._optional and error.status in _NOT_SHOWN:
                    asked_s = await self._do_without(error)
                else:
                    asked_s = self._report(error)
            except (FetchError, _EndedError, ApiFormatError, AccessError) as error:
                failed = True
                asked_s = self._report(error)
            if self._clock() - began_s > _LASTED_S:
                pause_s = _FIRST_PAUSE_S
                if not failed:
                    continue
            await self._sleep(max(pause_s * random.uniform(0.5, 1.0), asked_s))
            pause_s = min(2 * pause_s, _MAX_PAUSE_S)

    async def _follow(self) -> None:
        """One list if need be, then one watch to its end."""
        if not self._version or self._looks_around:
            await self._list()
        lasts_s = min(self._watch_s, self._look_s) if self._looks_around else self._watch_s
        asked = target(
            self._listing.path,
            watch=True,
            allowWatchBookmarks=True,
            resourceVersion=self._version,
            timeoutSeconds=max(1, int(lasts_s * random.uniform(0.8, 1.2))),
            labelSelector=self._listing.labels,
            fieldSelector=self._listing.fields,
        )
        agreed = False
        try:
            async with aclosing(self._client.lines(asked, _IDLE_S)) as batches:
                async for lines in batches:
                    agreed = True
                    self._take(lines)
        except RefusedError as error:
            raise expired(error) from error
        except (ApiFormatError, FetchError, AccessError, _EndedError) as error:
            if not (agreed and isinstance(error, FetchError)):
                self._version = ""
            raise

    async def _list(self) -> None:
        """The first listing with an object, else the first of a kind the server knows and shows."""
        refused: RefusedError | None = None
        empty: Found | None = None
        for listing in self._listings:
            try:
                found = await list_all(self._client, listing)
            except RefusedError as error:
                if error.status not in _NOT_SHOWN or self._follows(listing):
                    raise
                refused = refused or error
                continue
            if found.objects:
                await self._show(found)
                return
            empty = empty or found
        if empty is None:
            assert refused is not None
            raise refused
        await self._show(empty)

    @property
    def _looks_around(self) -> bool:
        """Whether what another listing has, or will have, would be followed instead."""
        return len(self._listings) > 1 and (self._is_empty or self._listing != self._listings[0])

    def _follows(self, listing: Listing) -> bool:
        """Whether the object was seen there and nobody said that it is gone: an API server that starts knows
        roles and definitions one after the other, and for a moment may show another kind alone."""
        return not self._is_empty and listing == self._listing

    async def _show(self, found: Found) -> None:
        self._listing, self._version = found.listing, found.version
        self._is_empty = not found.objects
        await self._sink.replace(found.listing, found.objects)
        self._answers()

    def _take(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            event = read_event(line)
            if event.type is EventKind.ERROR:
                raise _ended(event)
            version = version_in(event.object)
            if event.type is not EventKind.BOOKMARK:
                self._is_empty = event.type is EventKind.DELETED and len(self._listings) > 1
                self._sink.apply(event.type, event.object)
            self._version = version or self._version
        self._answers()

    def _answers(self) -> None:
        if self._told:
            _log.info("endpoints: the Kubernetes API answers again (%s)", self._listing.path)
        self._told, self.problem = False, None

    async def _do_without(self, error: RefusedError) -> float:
        """A kind that is not installed has no objects; of one that may not be read any more what is known
        stays. How long until it is looked for again."""
        self._version, self.problem = "", None
        if error.status == _ABSENT:
            await self._sink.replace(self._listing, ())
        if not self._told:
            _log.info("endpoints: %s is not used: %s", self._listing.path, error)
        self._told = True
        return self._look_s

    def _report(self, error: Exception) -> float:
        """Tell what is wrong; how long the server asks to be left alone."""
        if isinstance(error, RefusedError):
            self._version = ""
        self._metrics.failed("format" if isinstance(error, ApiFormatError) else "read")
        if not self._told:
            _log.error("endpoints: %s: %s; what is known stays", self._listing.path, _words(error))
        self._told = True
        self.problem = f"the Kubernetes API at {self._client.host}: {_words(error)}"
        return min(error.retry_after_s, _MAX_ASKED_PAUSE_S) if isinstance(error, RefusedError) else 0.0


def _words(error: Exception) -> str:
    if isinstance(error, RefusedError) and error.status == _ABSENT:
        return f"{error} (is the CustomResourceDefinition installed?)"
    return str(error)


def _ended(event: Event) -> Exception:
    status = read_status(bytes(event.object))
    if status.code == GONE:
        return ExpiredError()
    return _EndedError(f"the watch was ended: {status.message or status.reason or 'no reason given'}")
