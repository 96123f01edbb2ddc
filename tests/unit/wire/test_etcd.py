"""etcd's JSON form: what is asked, what is read."""

import json
from base64 import b64decode, b64encode

import pytest

from epp.wire.etcd import (
    EtcdError,
    EtcdFormatError,
    grant_request,
    lease_request,
    put_request,
    range_request,
    read_changes,
    read_kept_lease,
    read_lease,
    read_page,
    refusal,
    watch_request,
)


def b64(data: bytes) -> str:
    return b64encode(data).decode()


@pytest.mark.parametrize(
    ("prefix", "end"),
    [(b"/a/", b"/a0"), (b"a\xff", b"b"), (b"\xff\xff", b"\0"), (b"", b"\0")],
)
def test_a_range_ends_behind_its_prefix(prefix: bytes, end: bytes) -> None:
    asked = json.loads(range_request(prefix, None, 0, 10))
    assert b64decode(asked["range_end"]) == end
    assert asked.get("key", "") == (b64(prefix) if prefix else "")
    assert asked["limit"] == "10"
    assert "revision" not in asked


def test_the_next_page_begins_behind_the_last_key() -> None:
    asked = json.loads(range_request(b"/a/", b"/a/x", 7, 10))
    assert b64decode(asked["key"]) == b"/a/x\0"
    assert asked["revision"] == "7"


def test_other_requests() -> None:
    assert json.loads(watch_request(b"a", 5)) == {
        "create_request": {"key": b64(b"a"), "range_end": b64(b"b"), "start_revision": "5"}
    }
    assert json.loads(put_request(b"k", b"v", 9)) == {"key": b64(b"k"), "value": b64(b"v"), "lease": "9"}
    assert json.loads(grant_request(3)) == {"TTL": "3"}
    assert json.loads(lease_request(2**62)) == {"ID": str(2**62)}


def test_a_page() -> None:
    kv = {"key": b64(b"k"), "value": b64(b"v"), "mod_revision": "3", "version": "1"}
    page = read_page(json.dumps({"header": {"revision": "4"}, "kvs": [kv], "more": True}).encode())
    assert (page.header.revision, page.more) == (4, True)
    assert (page.kvs[0].name, page.kvs[0].data, page.kvs[0].mod_revision) == (b"k", b"v", 3)
    assert read_page(b'{"header": {"revision": "1"}}').kvs == ()


def test_changes() -> None:
    put = {"kv": {"key": b64(b"k"), "value": b64(b"v"), "mod_revision": "9"}}
    gone = {"type": "DELETE", "kv": {"key": b64(b"k"), "mod_revision": "10"}}
    line = json.dumps({"result": {"header": {"revision": "10"}, "events": [put, gone]}}).encode()
    assert [event.type for event in read_changes(line).events] == ["PUT", "DELETE"]
    compacted = b'{"result": {"canceled": true, "compact_revision": "5"}}'
    assert read_changes(compacted).compact_revision == 5
    with pytest.raises(EtcdError, match="transport is closing"):
        read_changes(b'{"error": {"grpc_code": 14, "message": "transport is closing"}}')


def test_leases() -> None:
    assert read_lease(b'{"ID": "12", "TTL": "5"}').id == 12
    assert read_kept_lease(b'{"result": {"ID": "12", "TTL": "5"}}\n').ttl_s == 5
    assert read_kept_lease(b'{"result": {"ID": "12"}}').ttl_s == 0


def test_refusals() -> None:
    assert str(refusal(404, b'{"error": "e", "message": "lease not found", "code": 5}')) == "lease not found"
    assert str(refusal(500, b"<html>")) == "status 500"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"kvs": 1}', b'{"header": {"revision": "-1"}}', b"\xff"]
)
def test_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(EtcdFormatError):
        read_page(body)


def test_bytes_that_are_not_base64() -> None:
    page = read_page(b'{"kvs": [{"key": "a*", "value": "\xc3\xa4"}]}')
    with pytest.raises(EtcdFormatError):
        _ = page.kvs[0].name
    with pytest.raises(EtcdFormatError):
        _ = page.kvs[0].data
