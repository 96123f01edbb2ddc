"""Which objects are followed, and all of them at one moment."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from epp.discovery.kubernetes.client import RefusedError
from epp.wire.kubernetes.api import ApiFormatError, Page, read_page, target

GONE: Final = 410
PAGE_OBJECTS: Final = 500
_MAX_PAGES: Final = 100
_LIST_S: Final = 30.0


class ExpiredError(Exception):
    """The server no longer knows the version a watch or a further page was to go on from."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Which objects."""

    path: str
    """The collection's, see :func:`epp.wire.kubernetes.api.collection`."""
    labels: str = ""
    """A label selector."""
    fields: str = ""
    """A field selector."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a listing has."""

    listing: Listing
    version: str
    """A watch goes on from here."""
    objects: list[msgspec.Raw]


class Client(Protocol):
    """Calls to the API; see :class:`epp.discovery.kubernetes.client.ApiClient`."""

    @property
    def host(self) -> str:
        """Who is asked."""
        ...

    async def get(self, target: str, timeout_s: float) -> bytes:
        """One answer."""
        ...

    def lines(self, target: str, idle_s: float) -> AsyncGenerator[list[bytes], None]:
        """The lines of a lasting answer."""
        ...


async def list_all(client: Client, listing: Listing) -> Found:
    """Every object of a listing; raises what the client raises, ApiFormatError, and ExpiredError when the
    server forgot the first page before the last one was asked for."""
    objects: list[msgspec.Raw] = []
    rest = ""
    for _ in range(_MAX_PAGES):
        page = await _page(client, listing, rest)
        objects += page.items
        rest = page.rest
        if not rest:
            return Found(listing, page.version, objects)
    raise ApiFormatError(f"a list of more than {_MAX_PAGES} pages")


def expired(error: RefusedError) -> Exception:
    """A refusal as it is, or as what ``410 Gone`` means."""
    return ExpiredError() if error.status == GONE else error


async def _page(client: Client, listing: Listing, rest: str) -> Page:
    asked = target(
        listing.path,
        limit=PAGE_OBJECTS,
        labelSelector=listing.labels,
        fieldSelector=listing.fields,
        **{"continue": rest},
    )
    try:
        page = read_page(await client.get(asked, _LIST_S))
    except RefusedError as error:
        raise expired(error) from error
    if not page.version:
        raise ApiFormatError("a list without a resourceVersion")
    return page
