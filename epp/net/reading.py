"""A lasting HTTP response, read as it comes: what every reader has to say of a stream that goes wrong."""

import asyncio

import httptools

from epp.net.http import FetchError, FetchFailure


def feed(parser: "httptools.HttpResponseParser", data: bytes) -> None:
    """Hand bytes to a parser; raises FetchError for what is not HTTP, or turns into something else."""
    try:
        parser.feed_data(data)
    except httptools.HttpParserError as error:
        raise FetchError(FetchFailure.PROTOCOL, str(error)) from error
    except httptools.HttpParserUpgrade as error:
        raise FetchError(FetchFailure.PROTOCOL, "it goes on in another protocol") from error


async def read_some(reader: asyncio.StreamReader, idle_s: float | None, max_bytes: int) -> bytes | None:
    """More bytes; None: none came in time. Raises FetchError when the connection broke."""
    try:
        async with asyncio.timeout(idle_s):
            data = await reader.read(max_bytes)
    except TimeoutError:
        return None
    except OSError as error:
        raise FetchError(FetchFailure.CONNECT, str(error) or type(error).__name__) from error
    if not data:
        raise FetchError(FetchFailure.CONNECT, "closed by the peer")
    return data
