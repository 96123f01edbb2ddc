"""Rows of numbers lie as the structs do, or are refused."""

import pytest

from cabi import layout
from cabi._native import ffi


def test_all_fields_are_a_row_of_the_structs_size() -> None:
    names = layout.fields("epp_selection")
    assert names[0] == "worker_id"
    assert layout.row("epp_selection", names).size == ffi.sizeof("epp_selection")


def test_a_row_reads_what_cffi_wrote() -> None:
    made = ffi.new("epp_selection *", {"rank": 7, "prefill_rank": 2**32 - 1, "split": 1})
    assert layout.row("epp_selection", ("rank", "prefill_rank", "split")).unpack_from(
        ffi.buffer(made), 16
    ) == (
        7,
        2**32 - 1,
        1,
    )


@pytest.mark.parametrize("names", [("prefill_rank", "rank"), ("worker_id", "rank")])
def test_fields_that_are_no_neighbours_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="does not follow"):
        layout.row("epp_selection", names)
