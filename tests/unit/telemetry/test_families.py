"""Our families beside the client library's: what is written alike shows alike."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    enable_created_metrics,
    generate_latest,
)

from epp.telemetry.declaring import Declarations

TEXT = "A \\ text\nin two lines."
BOUNDS = (0.0, 0.5, 1, 20.0)
AMOUNTS = st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, 3.0, 20.0, 21.0]), max_size=20)


@pytest.fixture(autouse=True, scope="module")
def _no_creation_times() -> Iterator[None]:
    disable_created_metrics()  # type: ignore[no-untyped-call]  # untyped there
    yield
    enable_created_metrics()  # type: ignore[no-untyped-call]  # untyped there


@given(AMOUNTS)
def test_pages_are_the_librarys(amounts: list[float]) -> None:
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    make = Declarations(ours)
    counter, our_counter = Counter("c", TEXT, registry=theirs), make.counter("c", TEXT)
    gauge, our_gauge = Gauge("g", "G.", registry=theirs), make.gauge("g", "G.")
    histogram = Histogram("h", "H.", buckets=BOUNDS, registry=theirs)
    our_histogram = make.histogram("h", "H.", buckets=BOUNDS)
    for amount in amounts:
        for count in (counter, our_counter):
            count.inc(amount)
        for now in (gauge, our_gauge):
            now.inc(amount)
        for each in (histogram, our_histogram):
            each.observe(amount)
    assert generate_latest(ours) == generate_latest(theirs)


@given(AMOUNTS)
def test_labelled_pages_are_the_librarys(amounts: list[float]) -> None:
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    make = Declarations(ours)
    names = ("a", "b")
    counter, our_counter = Counter("c", "C.", names, registry=theirs), make.counter("c", "C.", names)
    gauge, our_gauge = Gauge("g", "G.", names, registry=theirs), make.gauge("g", "G.", names)
    histogram = Histogram("h", "H.", names, buckets=BOUNDS, registry=theirs)
    our_histogram = make.histogram("h", "H.", names, buckets=BOUNDS)
    for amount in amounts:
        values = (str(amount), 'a "quoted"\nvalue')
        for count in (counter.labels(*values), our_counter.labels(*values)):
            count.inc(amount)
        for now in (gauge.labels(*values), our_gauge.labels(*values)):
            now.set(amount)
            now.dec()
        for each in (histogram.labels(*values), our_histogram.labels(*values)):
            each.observe(amount)
    for value in amounts[:1]:
        for family in (counter, our_counter):
            family.remove(str(value), 'a "quoted"\nvalue')
    assert generate_latest(ours) == generate_latest(theirs)


def test_a_bound_that_is_infinite_is_not_doubled() -> None:
    registry = CollectorRegistry()
    Declarations(registry).histogram("h", "H.", buckets=(1.0, float("inf"))).observe(7.0)
    assert generate_latest(registry).count(b"+Inf") == 1


def test_labels_are_as_many_as_declared() -> None:
    family = Declarations(CollectorRegistry()).counter("c", "C.", ("a", "b"))
    assert family.labels("x", "y") is family.labels("x", "y")
    with pytest.raises(ValueError, match="1 values for labels"):
        family.labels("x")
    family.remove("never", "made")


def test_a_name_is_taken_once() -> None:
    make = Declarations(CollectorRegistry())
    make.counter("c", "C.")
    with pytest.raises(ValueError, match="Duplicated"):
        make.gauge("c", "G.")
