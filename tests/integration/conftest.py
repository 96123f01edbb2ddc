"""What tests with real sockets share."""

import socket
from collections.abc import Iterator

import pytest


@pytest.fixture
def refusing_port() -> Iterator[int]:
    """A loopback port where connecting is refused: held, so that no server of the same test is given it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # nobody listens
        yield held.getsockname()[1]
