"""Subset hints: parsing, matching, and never a pick outside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epp.core.endpoints import Endpoint, PoolSnapshot
from epp.core.subset import eligible, intersect, parse_subset, split_host_port

POOL = PoolSnapshot.of(
    Endpoint(name=f"e{n}", address=address, port=port, worker_id=n)
    for n, (address, port) in enumerate(
        [
            ("10.0.0.1", 8000),
            ("10.0.0.1", 8001),
            ("10.0.0.2", 8000),
            ("fd00::1", 8000),
            ("fd00::1", 9000),
            ("::1", 80),
        ]
    )
)
CASES = [
    (None, [0, 1, 2, 3, 4, 5]),
    ((), []),
    (("10.0.0.1:8000",), [0]),
    (("10.0.0.1",), [0, 1]),
    (("10.0.0.2", "10.0.0.1:8001", "10.0.0.2:8000"), [1, 2]),
    (("10.0.0.1:9999", "10.0.0.3"), []),
    (("fd00::1",), [3, 4]),
    (("[fd00::1]",), [3, 4]),
    (("[fd00::1]:9000",), [4]),
    (("FD00:0:0::1",), [3, 4]),
    (("[0:0:0:0:0:0:0:1]:80",), [5]),
    (("fd00::1:8000",), []),  # that is an address of its own, not a port
    (("10.0.0.1:", "10.0.0.1:x", "10.0.0.1:-8000", ":8000", "[", "]", "[]:1", "[10.0.0.1", "a:b:c"), [0, 1]),
]


@pytest.mark.parametrize(("subset", "expected"), CASES)
def test_who_is_eligible(subset: tuple[str, ...] | None, expected: list[int]) -> None:
    assert [e.worker_id for e in eligible(POOL, subset)] == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ()),
        (" 10.0.0.1:80 , ,[::1]:80,", ("10.0.0.1:80", "[::1]:80")),
        (["10.0.0.1:80", " b ", "", 7, None, ["c"]], ("10.0.0.1:80", "b")),
        (iter(()), ()),
    ],
)
def test_parsing(value: object, expected: tuple[str, ...]) -> None:
    assert parse_subset(value) == expected  # type: ignore[arg-type]  # foreign data


def test_a_hint_is_bounded() -> None:
    assert len(parse_subset("a," * 70_000)) == 65_536


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (("10.0.0.1",), ("10.0.0.1:80", "10.0.0.1:81"), ("10.0.0.1:80", "10.0.0.1:81")),
        (("10.0.0.1:80",), ("10.0.0.1",), ("10.0.0.1:80",)),
        (("10.0.0.1:80",), ("10.0.0.1:81",), ()),
        (("[::1]:80",), ("0:0::1",), ("[::1]:80",)),
        ((), ("10.0.0.1",), ()),
    ],
)
def test_intersection(first: tuple[str, ...], second: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert intersect(first, second) == expected


entries = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["10.0.0.1", "10.0.0.1:8000", "10.0.0.2", "fd00::1", "[fd00::1]:8000", "::1", "10.0.0.9"]
    ),
)
hints = st.lists(entries, max_size=6).map(tuple)


@given(hints)
def test_nothing_outside_is_ever_eligible(subset: tuple[str, ...]) -> None:
    hosts = {split_host_port(entry)[0] for entry in subset}
    for endpoint in eligible(POOL, subset):
        assert endpoint.address in hosts


@given(hints, hints)
def test_an_intersection_allows_what_both_allow(first: tuple[str, ...], second: tuple[str, ...]) -> None:
    both = {e.worker_id for e in eligible(POOL, first)} & {e.worker_id for e in eligible(POOL, second)}
    assert {e.worker_id for e in eligible(POOL, intersect(first, second))} == both
