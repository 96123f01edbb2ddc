"""Usage read from passing responses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.usage import MAX_KEPT_BYTES, Usage, UsageReader, find_usage

NOTHING = Usage()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"usage": {"prompt_tokens": 5, "completion_tokens": 2}}', Usage(5, None, 2)),
        (b'{"usage":{"prompt_tokens":5,"prompt_tokens_details":{"cached_tokens":3}}}', Usage(5, 3, None)),
        (b'{"usage":{"prompt_tokens":5,"prompt_tokens_details":null}}', Usage(5, None, None)),
        (b'{"usage":{"input_tokens":5,"output_tokens":1,"cache_read_input_tokens":4}}', Usage(5, 4, 1)),
        (
            b'{"response":{"usage":{"input_tokens":5,"input_tokens_details":{"cached_tokens":1}}}}',
            Usage(5, 1, None),
        ),
        (b'{"usage" : \n {"prompt_tokens": 5}}', Usage(5, None, None)),
        (b'{"usage": {"prompt_tokens": 5}, "x": {"usage": null}}', Usage(5, None, None)),
        (b'{"usage": {"prompt_tokens": "5", "completion_tokens": true}}', NOTHING),
        (b'{"usage": {"prompt_tokens": -1, "completion_tokens": 1e3}}', NOTHING),
        (b'{"usage": {"prompt_tokens": 5', None),
        (b'{"usage": [1]}', None),
        (b'{"content": "\\"usage\\": {\\"prompt_tokens\\": 5}"}', None),
        (b'"usage": ' + b"{" * 50_000, None),
        (b'"usage":{"a":' + b"[" * 50_000, None),
        (b"", None),
    ],
)
def test_finding_usage(text: bytes, expected: Usage | None) -> None:
    assert find_usage(text) == expected


def read(kind: str, *pieces: bytes) -> Usage:
    reader = UsageReader(kind)
    for piece in pieces:
        reader.feed(piece)
    return reader.result()


def test_the_last_event_with_usage_counts() -> None:
    events = (
        b'data: {"usage": {"prompt_tokens": 1}}\n\ndata: {"usage": {"prompt_tokens": 2}}\n\ndata: [DONE]\n\n'
    )
    assert read("text/event-stream", events).prompt_tokens == 2


def test_a_line_without_an_end_is_read() -> None:
    assert read("text/event-stream", b'\ndata: {"usage": {"prompt_', b'tokens": 3}}').prompt_tokens == 3


def test_a_line_too_long_is_skipped_and_the_next_one_read() -> None:
    long = b"data: " + b"x" * (MAX_KEPT_BYTES + 1)
    last = b'{"usage": {"prompt_tokens": 4}}\ndata: {"usage": {"prompt_tokens": 5}}\n'
    assert read("text/event-stream", long[:40_000], long[40_000:], last).prompt_tokens == 5


def test_the_end_of_a_long_answer_is_enough() -> None:
    body = b'{"choices": "' + b"x" * 200_000 + b'", "usage": {"prompt_tokens": 6}}'
    assert (
        read("application/json", *(body[at : at + 9000] for at in range(0, len(body), 9000))).prompt_tokens
        == 6
    )


@given(
    st.lists(st.binary(max_size=200), max_size=20),
    st.sampled_from(["text/event-stream", "application/json", ""]),
)
def test_no_body_is_too_strange(pieces: list[bytes], kind: str) -> None:
    assert isinstance(read(kind, *pieces), Usage)


@given(st.data())
def test_cuts_do_not_matter(data: st.DataObject) -> None:
    body = (
        b'data: {"a": 1}\n\ndata: {"usage": {"prompt_tokens": 7, "completion_tokens": 8}}\n\ndata: [DONE]\n\n'
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=12)))
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert read("text/event-stream", *pieces) == Usage(7, None, 8)
