"""Finding a few lines on a page."""

import pytest

from epp.wire.promtext import Series, find


def values(page: bytes, metric: str, near: int = 0) -> list[float]:
    return [series.value for series in find(page, metric, near).series]


def test_labels_with_escapes_commas_and_braces() -> None:
    page = b'm{a="x,y",b="q\\"{}\\n\\\\"} 1.5 1700000000\n'
    assert find(page, "m").series == (Series({"a": "x,y", "b": 'q"{}\n\\'}, 1.5),)


def test_first_line_last_line_and_no_newline_at_the_end() -> None:
    assert values(b"m 1\nx 2", "m") == [1.0]
    assert values(b"m 1\nx 2", "x") == [2.0]
    assert values(b"m 1\r\n", "m") == [1.0]


def test_longer_names_and_comments_are_other_metrics() -> None:
    page = b"# HELP m about m\n# TYPE m gauge\nm_total 9\nmm 8\nm 1\nm_sum 7\n"
    assert values(page, "m") == [1.0]


def test_a_group_ends_where_another_metric_begins() -> None:
    assert values(b"m 1\nm 2\nx 3\nm 4\n", "m") == [1.0, 2.0]


@pytest.mark.parametrize("line", [b"m", b"m ", b"m one", b'm{a="x" 1', b"m{a=x} 1", b'm{="x"} 1', b"m } 1"])
def test_lines_that_do_not_parse_are_left_out(line: bytes) -> None:
    assert values(line + b"\nm 2\n", "m")[-1:] in ([2.0], [])
    assert values(line, "m") == []


def test_the_remembered_place_is_only_a_hint() -> None:
    page = b"a 1\n" + b"x 0\n" * 5000 + b"m 3\n"
    place = find(page, "m").position
    assert page[place : place + 3] == b"m 3"
    assert values(page, "m", near=place) == [3.0]
    assert values(b"m 4\n" + page[:-4], "m", near=place) == [4.0]
    assert values(b"a 1\n", "m", near=place) == []


def test_special_values() -> None:
    found = find(b'm{a="1"} +Inf\nm{a="2"} NaN\nm{a="3"} 1e3\n', "m").series
    assert found[0].value == float("inf")
    assert found[1].value != found[1].value  # NaN
    assert found[2].value == 1000.0
