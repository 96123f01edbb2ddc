"""Invariants: a name is changed and no other byte, what comes out does not depend on how it was cut, and any
bytes pass somehow."""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from epp.wire.renaming import ModelRestorer

JSON = "application/json"
EVENTS = "text/event-stream"

_NAMES = st.one_of(st.just("small"), st.text(max_size=6))
_KEYS = st.one_of(
    st.sampled_from(["model", "response", "message", "responses", "models", "a", 'mod"el', "é"]),
    st.text(max_size=4),
)
_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), _NAMES
)
_TREES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=8,
)
_OBJECTS = st.dictionaries(_KEYS, _TREES, max_size=6)
_CUTS = st.lists(st.integers(1, 9), max_size=60)


def renamed(pieces: list[bytes], kind: str, name: str = "chat") -> bytes:
    restorer = ModelRestorer(name)
    restorer.begin({"content-type": kind})
    return b"".join([restorer.feed(piece) for piece in pieces])


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces: list[bytes] = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


def by_hand(tree: dict[str, Any], name: str) -> dict[str, Any]:
    """The same with the first name there is."""
    for key, value in tree.items():
        if key == "model" and isinstance(value, str):
            return {**tree, key: name}
        if key in ("response", "message") and isinstance(value, dict) and isinstance(value.get("model"), str):
            return {**tree, key: {**value, "model": name}}
    return tree


@given(_OBJECTS, _NAMES, st.booleans(), st.sampled_from([None, 1]), _CUTS)
def test_only_the_name_changes(
    tree: dict[str, Any], name: str, ascii_only: bool, indent: int | None, cuts: list[int]
) -> None:
    def written(value: object) -> bytes:
        return json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()

    expected = by_hand(tree, name)
    text = renamed(cut(written(tree), cuts), JSON, name)
    assert json.loads(text) == expected
    if name.isascii() and name.isalnum():  # of other names there is more than one spelling
        assert text == written(expected)


@given(st.lists(_OBJECTS, max_size=5), st.sampled_from([b"\n", b"\r\n", b"\r"]), _CUTS, st.integers(1, 4))
def test_only_the_names_of_events_change(
    trees: list[dict[str, Any]], end: bytes, cuts: list[int], times: int
) -> None:
    def written(values: list[dict[str, Any]]) -> bytes:
        events = [b"data: " + json.dumps(value).encode() + end + end for value in values * times]
        return b"".join([*events, b"data: [DONE]", end, end])

    expected = written([by_hand(tree, "chat") for tree in trees])
    assert renamed(cut(written(trees), cuts), EVENTS) == expected
    lines = written(trees).splitlines(keepends=True)
    assert renamed(lines, EVENTS) == expected


_PARTS = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b'"model"',
                b'"response"',
                b"{",
                b"}",
                b"[",
                b"]",
                b":",
                b",",
                b'"',
                b"\\",
                b"small",
                b" ",
                b"12",
            ]
        ),
        st.sampled_from(
            [b'{"model":"small"', b'{"model":"', b"data:", b"data: ", b"\n\n", b"\n", b"\r", b"\r\n"]
        ),
        st.binary(max_size=3),
    ),
    max_size=30,
)


@given(_PARTS, _CUTS, st.sampled_from([JSON, EVENTS]))
@example([b'data: {"model":"', b"s", b'"}', b"\n\n", b'data: {"model":"s"', b"}\r", b"\n\n"], [], EVENTS)
@example([b'data: {"a":', b"data", b"\n", b'data: {"model":"x"'], [], EVENTS)
def test_any_bytes_pass_and_cuts_mean_nothing(parts: list[bytes], cuts: list[int], kind: str) -> None:
    whole = b"".join(parts)
    expected = renamed([whole], kind)
    assert renamed(parts, kind) == expected
    assert renamed(cut(whole, cuts), kind) == expected
    assert renamed([bytes([byte]) for byte in whole], kind) == expected
    if b'"model"' not in whole:
        assert expected == whole
    assert renamed(parts, "text/plain") == whole
