import pytest

from frontend.http.heads import Dates, HeadError, content_length, lines_of, request_head, response_head


def test_a_response_head() -> None:
    head = response_head(
        200,
        (("X-A", "é"), ("Connection", "keep-alive"), ("date", "x")),
        "content-length: 3\r\n",
        "date: d\r\n",
    )
    assert head == b"HTTP/1.1 200 OK\r\ndate: d\r\ncontent-length: 3\r\nX-A: \xe9\r\n\r\n"


def test_a_request_head_keeps_framing_to_itself() -> None:
    headers = (("host", "evil"), ("Content-Length", "9"), ("transfer-encoding", "chunked"), ("x", "1"))
    assert request_head("POST", "/p?q", "h:1", headers, 0) == (
        b"POST /p?q HTTP/1.1\r\nhost: h:1\r\ncontent-length: 0\r\nx: 1\r\n\r\n"
    )
    assert request_head("GET", "/", "h:1", (), 0) == b"GET / HTTP/1.1\r\nhost: h:1\r\n\r\n"


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\rb", "a\0b", "\u2026"])
def test_what_cannot_stand_in_a_header(value: str) -> None:
    with pytest.raises(HeadError):
        response_head(200, (("x", value),), "", "")
    with pytest.raises(HeadError):
        response_head(200, ((value, "x"),), "", "")
    with pytest.raises(HeadError):
        request_head("GET", "/" + value, "h", (), 0)


def test_a_target_is_one_word() -> None:
    with pytest.raises(HeadError):
        request_head("GET", "/ HTTP/1.1", "h", (), 0)


def test_statuses() -> None:
    assert response_head(529, (), "", "").startswith(b"HTTP/1.1 529 \r\n")
    for status in (0, 100, 101, 199, 1000, -1):
        with pytest.raises(HeadError):
            response_head(status, (), "", "")


def test_content_lengths() -> None:
    assert content_length((("a", "b"), ("Content-Length", "12"))) == 12
    assert content_length(()) is None
    for value in ("", "-1", "1 ", "1_0", "٣"):
        with pytest.raises(HeadError):
            content_length((("content-length", value),))


def test_dates_are_imf_fixdates() -> None:
    dates = Dates()
    assert dates.line().startswith("date: ")
    assert dates.line().endswith(" GMT\r\n")
    assert len(dates.line()) == len("date: Sun, 06 Nov 1994 08:49:37 GMT\r\n")


def test_cookies_that_are_set_are_lines_of_their_own() -> None:
    assert lines_of({"a": "1, 2", "set-cookie": "x=1; Path=/\ny=2"}) == (
        ("a", "1, 2"),
        ("set-cookie", "x=1; Path=/"),
        ("set-cookie", "y=2"),
    )
