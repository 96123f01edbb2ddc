"""Splices: one field changes, every other byte stays."""

import array
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.errors import BadRequestError
from epp.wire.inject import splice_cache_salt, splice_model, splice_token_data


def u32(*ids: int) -> bytes:
    return array.array("I", ids).tobytes()


@pytest.mark.parametrize(
    ("body", "spliced"),
    [
        (b"{}", b'{"nvext":{"token_data":[7,8]}}'),
        (b" { \n} ", b' {"nvext":{"token_data":[7,8]} \n} '),
        (b'{"a": 1}', b'{"nvext":{"token_data":[7,8]},"a": 1}'),
        (b'{"a":1,"nvext":null}', b'{"a":1,"nvext":{"token_data":[7,8]}}'),
        (b'{"nvext" : { } , "a":1}', b'{"nvext" : {"token_data":[7,8] } , "a":1}'),
        (b'{"nvext":{"a": 1}}', b'{"nvext":{"token_data":[7,8],"a": 1}}'),
        (
            b'{"nvext":{"a":1, "token_data" : [1, 2] ,"b":2}}',
            b'{"nvext":{"a":1, "token_data" : [7,8] ,"b":2}}',
        ),
        (b'{"nvext":{"token_data":null}}', b'{"nvext":{"token_data":[7,8]}}'),
        (b'{"nvex\\u0074":{"token\\u005fdata":[]}}', b'{"nvex\\u0074":{"token\\u005fdata":[7,8]}}'),
        (b'{"nvext":{"a":1},"nvext":{"b":2}}', b'{"nvext":{"a":1},"nvext":{"token_data":[7,8],"b":2}}'),
        (
            b'{"nvext":{"token_data":[1],"token_data":[2]}}',
            b'{"nvext":{"token_data":[1],"token_data":[7,8]}}',
        ),
        (
            b'{"m":{"nvext":{}},"t":"\\"nvext\\":{}"}',
            b'{"nvext":{"token_data":[7,8]},"m":{"nvext":{}},"t":"\\"nvext\\":{}"}',
        ),
    ],
)
def test_token_data_by_byte(body: bytes, spliced: bytes) -> None:
    assert splice_token_data(body, u32(7, 8)) == spliced


@pytest.mark.parametrize(
    ("body", "spliced"),
    [
        (b'{"model" : "a" , "x":1}', b'{"model" : "b\\"" , "x":1}'),
        (b'{"x":{"model":"deep"}}', b'{"model":"b\\"","x":{"model":"deep"}}'),
        (b'{"model":null}', b'{"model":"b\\""}'),
        (b'{"mode\\u006c":"a"}', b'{"mode\\u006c":"b\\""}'),
        (b"{}", b'{"model":"b\\""}'),
    ],
)
def test_model_by_byte(body: bytes, spliced: bytes) -> None:
    assert splice_model(body, 'b"') == spliced


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"nvext":1}', b'{"nvext":[]}', b'{"nvext":"x"}', b'{"a":' + b"[" * 50_000]
)
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequestError):
        splice_token_data(body, u32(1))


def test_tokens_must_be_whole() -> None:
    with pytest.raises(ValueError, match="whole 32-bit ids"):
        splice_token_data(b"{}", b"\0\0\0")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)
KEYS = st.sampled_from(["nvext", "token_data", "model", "messages", "a"]) | st.text()
BODIES = st.dictionaries(KEYS, JSON, max_size=6)
EXTENSIONS = st.none() | st.dictionaries(KEYS, JSON, max_size=4)
TOKENS = st.lists(st.integers(0, 2**32 - 1), max_size=20)
LAYOUTS = st.sampled_from(
    [
        {"separators": (",", ":")},
        {"separators": (" , ", "\t:\n"), "ensure_ascii": False},
        {"indent": 2},
    ]
)


@given(BODIES, EXTENSIONS, st.booleans(), TOKENS, LAYOUTS)
def test_the_body_means_the_same_with_the_tokens_added(
    fields: dict[str, object],
    extension: object,
    has_extension: bool,
    ids: list[int],
    layout: dict[str, object],
) -> None:
    fields.pop("nvext", None)
    if has_extension:
        fields["nvext"] = extension
    body = json.dumps(fields, **layout).encode()  # type: ignore[arg-type]
    spliced = splice_token_data(body, u32(*ids))
    expected = dict(fields)
    expected["nvext"] = {**(extension if has_extension and extension else {}), "token_data": ids}  # type: ignore[dict-item]
    assert json.loads(spliced) == json.loads(json.dumps(expected))


def members(fields: dict[str, object]) -> bytes:
    """The members of an object as text, without its braces."""
    return json.dumps(fields).encode()[1:-1]


def joined(*texts: bytes) -> bytes:
    return b", ".join(text for text in texts if text)


SPACE = st.sampled_from([b"", b" ", b"\n\t \r"])
NVEXT = st.sampled_from([b'"nvext"', b'"nvex\\u0074"', b'"\\u006e\\u0076ext"'])
TOKEN_DATA = st.sampled_from([b'"token_data"', b'"token\\u005Fdata"'])
OTHERS = st.dictionaries(KEYS.filter(lambda key: key not in {"nvext", "token_data"}), JSON, max_size=3)


@given(BODIES, OTHERS, BODIES, OTHERS, NVEXT, TOKEN_DATA, SPACE, JSON, TOKENS)
def test_a_value_that_is_there_is_replaced_in_place(
    before: dict[str, object],
    after: dict[str, object],
    inner_before: dict[str, object],
    inner_after: dict[str, object],
    nvext: bytes,
    token_data: bytes,
    space: bytes,
    old: object,
    ids: list[int],
) -> None:
    def body(value: bytes) -> bytes:
        member = space + token_data + space + b":" + space + value + space
        inner = joined(members(inner_before), member, members(inner_after))
        extension = nvext + space + b":" + space + b"{" + inner + b"}"
        return space + b"{" + joined(members(before), extension, members(after)) + b"}" + space

    new = json.dumps(ids, separators=(",", ":")).encode()
    assert splice_token_data(body(json.dumps(old).encode()), u32(*ids)) == body(new)


@given(BODIES, OTHERS, OTHERS, NVEXT, SPACE, st.booleans(), TOKENS)
def test_a_value_that_is_missing_is_inserted_and_nothing_else(
    before: dict[str, object],
    after: dict[str, object],
    inner: dict[str, object],
    nvext: bytes,
    space: bytes,
    null: bool,
    ids: list[int],
) -> None:
    def body(extension: bytes) -> bytes:
        member = nvext + space + b":" + space + extension + space
        return b"{" + joined(members(before), member, members(after)) + b"}"

    new = b'"token_data":' + json.dumps(ids, separators=(",", ":")).encode()
    old_inner = space + members(inner)
    comma = b"," if inner else b""
    sent = body(b"null" if null else b"{" + old_inner + b"}")
    expected = body(b"{" + new + (b"" if null else comma + old_inner) + b"}")
    assert splice_token_data(sent, u32(*ids)) == expected


@given(BODIES, st.text(), LAYOUTS)
def test_the_model_alone_changes(fields: dict[str, object], model: str, layout: dict[str, object]) -> None:
    body = json.dumps(fields, **layout).encode()  # type: ignore[arg-type]
    assert json.loads(splice_model(body, model)) == json.loads(json.dumps({**fields, "model": model}))
    assert json.loads(splice_cache_salt(body, model)) == json.loads(
        json.dumps({**fields, "cache_salt": model})
    )
