"""URLs taken apart."""

import pytest

from epp.wire.urls import Url, parse_url


@pytest.mark.parametrize(
    ("text", "url", "host_header"),
    [
        ("http://10.0.0.1:8000/metrics", Url("10.0.0.1", 8000, "/metrics", tls=False), "10.0.0.1:8000"),
        ("http://[fd00::1]:9", Url("fd00::1", 9, "/", tls=False), "[fd00::1]:9"),
        ("https://Host/a?b=c#d", Url("host", 443, "/a?b=c", tls=True), "host:443"),
    ],
)
def test_parts(text: str, url: Url, host_header: str) -> None:
    assert parse_url(text) == url
    assert url.host_header == host_header


@pytest.mark.parametrize(
    "text",
    [
        "",
        "h:1",
        "ftp://h/",
        "http://",
        "http://u@h/",
        "http://h:0/",
        "http://h:99999/",
        "http://h/\r\nX: y",
        "http://[::1/",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_url(text)
