"""Measuring one streamed answer."""

import pytest

from epp.testing.load.http1 import ResponseError
from epp.testing.load.meter import StreamMeter

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"


def test_the_first_text_counts_not_the_role() -> None:
    meter = StreamMeter(sent_s=0.0)
    meter.feed(HEAD + b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n', 1.0)
    assert meter.first_text_s is None
    meter.feed(b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n', 2.0)
    meter.feed(b'data: {"choices":[{"delta":{"content":"b"}}]}\n\n', 3.0)
    meter.feed(b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,', 4.0)
    meter.feed(b'"prompt_tokens_details":{"cached_tokens":8}}}\n\ndata: [DONE]\n\n', 4.0)
    meter.response.closed()
    assert (meter.first_text_s, meter.text, meter.cached_tokens, meter.error()) == (2.0, "ab", 8, "")


def test_a_refusal_is_quoted() -> None:
    meter = StreamMeter(sent_s=0.0)
    meter.feed(b"HTTP/1.1 503 No\r\ncontent-length: 4\r\n\r\nfull", 1.0)
    assert meter.error() == "status 503: full"


def test_a_stream_without_its_end_is_an_error() -> None:
    meter = StreamMeter(sent_s=0.0)
    meter.feed(HEAD, 1.0)
    meter.response.closed()
    assert "end marker" in meter.error()


def test_what_is_no_chunk_is_a_response_error() -> None:
    with pytest.raises(ResponseError, match="not a chunk"):
        StreamMeter(sent_s=0.0).feed(HEAD + b"data: nonsense\n\n", 1.0)
