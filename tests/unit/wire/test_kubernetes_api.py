"""Lists, watches, refusals, selectors and pools of the Kubernetes API."""

import json
from typing import Any

import pytest

from epp.wire.kubernetes.api import (
    ApiFormatError,
    EventKind,
    collection,
    is_object_name,
    parse_selector,
    read_event,
    read_page,
    read_status,
    selector_text,
    target,
    version_in,
)
from epp.wire.kubernetes.pools import GROUP_V1, GROUP_V1ALPHA2, Pool, make_pool, read_pool


def test_a_page() -> None:
    page = read_page(
        b'{"kind":"PodList","metadata":{"resourceVersion":"7","continue":"c"},"items":[{"a":1},{}]}'
    )
    assert (page.version, page.rest, [bytes(item) for item in page.items]) == ("7", "c", [b'{"a":1}', b"{}"])


def test_an_event() -> None:
    event = read_event(b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"12"}}}')
    assert event.type is EventKind.BOOKMARK
    assert version_in(event.object) == "12"


def test_an_unknown_kind_of_event_is_refused() -> None:
    with pytest.raises(ApiFormatError):
        read_event(b'{"type":"RENAMED","object":{}}')


def test_a_refusal_is_one_line() -> None:
    said = read_status(b'{"kind":"Status","message":"pods is\\n forbidden","reason":"Forbidden","code":403}')
    assert (said.message, said.reason, said.code) == ("pods is forbidden", "Forbidden", 403)
    assert read_status(b"<html>busy</html>").message == ""


def test_paths() -> None:
    assert collection("", "v1", "ns", "pods") == "/api/v1/namespaces/ns/pods"
    assert collection("g.io", "v1", "ns", "things") == "/apis/g.io/v1/namespaces/ns/things"
    assert target("/p", watch=True, labelSelector="app=a,b=c", limit=0, fieldSelector="") == (
        "/p?watch=true&labelSelector=app%3Da%2Cb%3Dc"
    )
    assert target("/p") == "/p"


@pytest.mark.parametrize("name", ["a", "a.b-c", "0"])
def test_names_of_objects(name: str) -> None:
    assert is_object_name(name)


@pytest.mark.parametrize("name", ["", "A", "a/b", "..", "a b", "-a", "a" * 254])
def test_what_must_not_stand_in_a_path(name: str) -> None:
    assert not is_object_name(name)


def test_selectors() -> None:
    assert parse_selector("app = vllm, llm-d.ai/role==decode,empty=") == {
        "app": "vllm",
        "llm-d.ai/role": "decode",
        "empty": "",
    }
    assert selector_text({"b": "2", "a": "1"}) == "a=1,b=2"


@pytest.mark.parametrize(
    "text", ["", "app", "app=a,", "app=a,app=b", "=a", "app=a b", "a,b in (c)", "app!=a"]
)
def test_selectors_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_selector(text)


def test_a_label_that_would_change_the_selector_is_refused() -> None:
    with pytest.raises(ValueError, match="no label"):
        selector_text({"app": "a,b=c"})


def v1(ports: Any = ({"number": 8000},), labels: Any = None) -> bytes:
    spec = {"selector": {"matchLabels": {"app": "a"} if labels is None else labels}, "targetPorts": ports}
    return json.dumps({"metadata": {"name": "p"}, "spec": spec}).encode()


def test_both_versions_of_a_pool() -> None:
    assert read_pool(v1([{"number": 8000}, {"number": 8001}]), GROUP_V1) == Pool("app=a", (8000, 8001))
    old = b'{"spec":{"selector":{"app":"a"},"targetPortNumber":8000,"extensionRef":{"name":"epp"}}}'
    assert read_pool(old, GROUP_V1ALPHA2) == Pool("app=a", (8000,))


@pytest.mark.parametrize(
    "data",
    [
        v1([]),
        v1(None),
        v1([{"number": 1}, {"number": 1}]),
        v1([{"number": 65536}]),
        v1([{"number": 0}]),
        v1([{"number": port} for port in range(1, 10)]),
        v1(labels={}),
        v1(labels={"app": "a b"}),
        b"{}",
        b"",
    ],
)
def test_pools_that_cannot_be_used(data: bytes) -> None:
    with pytest.raises(ApiFormatError):
        read_pool(data, GROUP_V1)


def test_a_pool_of_a_selector() -> None:
    assert make_pool(parse_selector("app=a"), (8000, 8001)) == Pool("app=a", (8000, 8001))
