"""The grammar of vLLM's extra keys: LoRA name, image, salt, embeddings, all of them plain values."""

from epp.core.blocks import mm_hash_of
from epp.wire.extrakeys import read_extra_keys, read_mm_infos

IMAGE = "cd" * 32
IMAGE_HASH = 0xCDCDCDCDCDCDCDCD


def test_a_lora_name_is_neither_salt_nor_image() -> None:
    assert read_extra_keys([["adA"], ["adA"]], "adA", at_root=True) == ("", ())


def test_the_salt_stands_on_the_first_block_of_a_sequence_only() -> None:
    assert read_extra_keys([["tenant"], None], "", at_root=True) == ("tenant", ())


def test_a_string_on_a_later_run_is_an_item() -> None:
    assert read_extra_keys([[IMAGE]], "", at_root=False) == ("", ((IMAGE_HASH,),))


def test_lora_image_and_salt_together() -> None:
    keys = [["adA", [IMAGE, 3], "tenant"], ["adA", [IMAGE, -29]]]
    assert read_extra_keys(keys, "adA", at_root=True) == ("tenant", ((IMAGE_HASH,), (IMAGE_HASH,)))


def test_a_bare_item_that_spans_blocks_is_no_salt() -> None:
    assert read_extra_keys([[IMAGE], [IMAGE]], None, at_root=True) == ("", ((IMAGE_HASH,), (IMAGE_HASH,)))


def test_a_hexadecimal_salt_is_still_a_salt() -> None:
    assert read_extra_keys([[IMAGE], None], None, at_root=True) == (IMAGE, ())


def test_embeddings_and_unknown_values_keep_the_block_apart_from_plain_text() -> None:
    salt, contents = read_extra_keys([[b"\x00" * 32], [{"new": 1}], None], None, at_root=True)
    assert salt == ""
    assert [len(block) for block in contents] == [1, 1, 0]
    assert contents[0] != contents[1]


def test_a_name_that_is_no_digest_is_hashed() -> None:
    _, contents = read_extra_keys([[["uuid-A", 0]]], None, at_root=False)
    assert contents == ((mm_hash_of("uuid-A"),),)


def test_mm_infos_that_make_no_sense_say_nothing() -> None:
    assert read_mm_infos([None, 3, {"mm_objects": 1}, {"mm_objects": [{}, 7]}]) == ()
    assert read_mm_infos([{"mm_objects": [{"mm_hash": -1}]}]) == (((1 << 64) - 1,),)
