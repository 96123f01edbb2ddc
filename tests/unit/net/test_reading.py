"""What is not an HTTP response is an error of one kind."""

import httptools
import pytest

from epp.net.http import FetchError, FetchFailure
from epp.net.reading import feed


class _Deaf:
    """Wants to know nothing."""


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    ],
)
def test_another_protocol_is_told(answer: bytes) -> None:
    with pytest.raises(FetchError) as caught:
        feed(httptools.HttpResponseParser(_Deaf()), answer)
    assert caught.value.failure is FetchFailure.PROTOCOL
