import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.serving.modelpage import MAX_MODELS, ListedModel, read_models


def test_vllm() -> None:
    page = b"""{"object":"list","data":[
        {"id":"m","object":"model","created":7,"owned_by":"vllm","root":"m","parent":null,"max_model_len":16},
        {"id":"lora","created":7,"owned_by":"vllm","parent":"m","max_model_len":null}]}"""
    assert read_models(page) == (
        ListedModel("m", 16, None, "vllm", 7),
        ListedModel("lora", None, "m", "vllm", 7),
    )


def test_odd_entries_are_left_out() -> None:
    assert read_models(b'{"data":[1,{"id":4},{"id":"m","max_model_len":0,"created":1e300},{}]}') == (
        ListedModel("m"),
    )


@pytest.mark.parametrize("page", [b"", b"[]", b"{}", b'{"data":3}', b"\xff", b"[" * 100_000])
def test_no_page(page: bytes) -> None:
    with pytest.raises(ValueError, match="no list of models"):
        read_models(page)


def test_a_page_is_bounded() -> None:
    entries = b",".join(b'{"id":"%d"}' % number for number in range(MAX_MODELS + 5))
    assert len(read_models(b'{"data":[%b]}' % entries)) == MAX_MODELS


@given(st.binary(max_size=200))
def test_total(page: bytes) -> None:
    with contextlib.suppress(ValueError):
        read_models(page)
