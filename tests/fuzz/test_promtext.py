"""Invariant: no page and no HTTP response make their readers raise anything but their own errors."""

from contextlib import suppress
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from epp.core.endpoints import EngineKind
from epp.wire.enginemetrics import TABLE, PageReader
from epp.wire.http1 import BodyTooLargeError, HttpFormatError, Response, ResponseReader
from epp.wire.promtext import find
from epp.wire.urls import parse_url

GOLDEN = sorted((Path(__file__).parents[1] / "golden" / "promtext").glob("*.prom"))
pages = [path.read_bytes() for path in GOLDEN]
engines = st.sampled_from(list(EngineKind))
lines = st.lists(
    st.builds(
        lambda name, rest: name.encode() + rest,
        st.sampled_from([names.waiting.metric for names in TABLE.values()]),
        st.binary(max_size=40)
        | st.sampled_from([b" 1", b"{} 2", b'{engine="1"} 3', b'{engine="x"} nan', b"{"]),
    ),
    max_size=8,
).map(b"\n".join)


@given(st.binary(max_size=300) | lines, engines, st.integers(1, 3))
def test_any_page(page: bytes, engine: EngineKind, dp_size: int) -> None:
    facts = PageReader(engine, dp_size).read(page)
    assert all(0 <= rank < dp_size for rank in facts.loads)
    assert all(load.waiting_requests >= 0 and 0 <= load.kv_usage <= 1 for load in facts.loads.values())


@given(st.sampled_from(pages), engines, st.data())
def test_damaged_pages_of_one_reader(page: bytes, engine: EngineKind, data: st.DataObject) -> None:
    reader = PageReader(engine, 2)
    reader.read(page)
    damaged = bytearray(page)
    for _ in range(3):
        damaged[data.draw(st.integers(0, len(page) - 1))] = data.draw(st.integers(0, 255))
    reader.read(bytes(damaged[data.draw(st.integers(0, len(page))) :]))


@given(st.sampled_from(pages), engines, st.integers(0, 10_000))
def test_a_hint_never_changes_what_is_found(page: bytes, engine: EngineKind, near: int) -> None:
    padded = b"x 1\n" * 2000 + page
    metric = TABLE[engine].waiting.metric
    assert find(padded, metric, near) == find(padded, metric)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_any_response(data: bytes, cut: int) -> None:
    for head in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
        reader = ResponseReader(1000)
        with suppress(HttpFormatError, BodyTooLargeError):
            if reader.feed(head + data[:cut]) is None and reader.feed(data[cut:]) is None:
                reader.eof()


@given(
    st.binary(max_size=60),
    st.lists(st.integers(0, 60), max_size=4),
    st.lists(st.integers(0, 200), max_size=6),
)
def test_split_anywhere_reads_the_same(body: bytes, chunk_ends: list[int], cuts: list[int]) -> None:
    ends = sorted({min(end, len(body)) for end in chunk_ends} | {len(body)})
    pieces = [body[a:b] for a, b in zip([0, *ends], ends, strict=False) if a < b]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    reader = ResponseReader(1000)
    at = 0
    found: Response | None = None
    for cut in [*sorted({min(cut, len(data) - 1) for cut in cuts if cut}), len(data)]:
        assert found is None
        if cut > at:
            found = reader.feed(data[at:cut])
            at = cut
    assert found == Response(200, body, keep_alive=True)


@given(st.text(max_size=40) | st.from_regex(r"https?://[\[\]a-z0-9:.@]{0,20}(/.{0,5})?", fullmatch=True))
def test_any_url(text: str) -> None:
    with suppress(ValueError):
        url = parse_url(text)
        assert 0 < url.port < 65536
        assert "\r" not in url.target
