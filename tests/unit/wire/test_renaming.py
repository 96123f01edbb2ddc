"""A model's name in an answer is replaced, and nothing else."""

import json
from collections.abc import Iterable

import pytest

from epp.core.restoring import Restored
from epp.wire.renaming import ModelRestorer

JSON = {"content-type": "application/json"}
EVENTS = {"content-type": "text/event-stream; charset=utf-8"}


def restored(
    pieces: Iterable[bytes], headers: dict[str, str] = JSON, name: str = "chat"
) -> tuple[bytes, Restored | None]:
    restorer = ModelRestorer(name)
    restorer.begin(headers)
    return b"".join([restorer.feed(piece) for piece in pieces]), restorer.outcome


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


class TestText:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (b'{"model":"small"}', b'{"model":"chat"}'),
            (
                b'{ "id" : 1.5e3 , "model" : "s\\"m\\\\" , "x":1 }',
                b'{ "id" : 1.5e3 , "model" : "chat" , "x":1 }',
            ),
            (b'\n{"a":[{"model":"no"}],"model":""}', b'\n{"a":[{"model":"no"}],"model":"chat"}'),
            (b'{"a":"\\"model\\":\\"no\\"","model":"b"}', b'{"a":"\\"model\\":\\"no\\"","model":"chat"}'),
            (b'{"a":{"model":"no","b":"}"},"model":"b"}', b'{"a":{"model":"no","b":"}"},"model":"chat"}'),
            (
                b'{"type":"response.created","response":{"id":"r","model":"b"},"n":1}',
                b'{"type":"response.created","response":{"id":"r","model":"chat"},"n":1}',
            ),
            (
                b'{"type":"message_start","message":{"content":[],"model":"b","usage":{}}}',
                b'{"type":"message_start","message":{"content":[],"model":"chat","usage":{}}}',
            ),
            (
                b'{"message":{"message":{"model":"no"}},"model":"b"}',
                b'{"message":{"message":{"model":"no"}},"model":"chat"}',
            ),
            (b'{"response":{},"model":"b"}', b'{"response":{},"model":"chat"}'),
            (b'{"model":"b","model":"second"}', b'{"model":"chat","model":"second"}'),
            (
                b'{"model":null,"t":true,"message":{"model":"b"}}',
                b'{"model":null,"t":true,"message":{"model":"chat"}}',
            ),
            (b'{"model":"cut sho', b'{"model":"chat'),
        ],
    )
    def test_the_name_is_replaced_however_it_is_cut(self, before: bytes, after: bytes) -> None:
        for size in range(1, len(before) + 1):
            assert restored(cut(before, size)) == (after, Restored.RESTORED)

    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b"null",
            b'"model"',
            b'["model","b"]',
            b'[{"model":"b"}]',
            b'{"error":{"message":"no \\"model\\": \\"b\\"","model":"b"}}',
            b'{"choices":[{"message":{"model":"b"}}]}',
            b'{"model":7}',
            b'{"model":{"model":"b"}}',
            b'{"model" "b"}',
            b'{"a":1 "model":"b"}',
            b'{"a":*,"model":"b"}',
            b'{,"model":"b"}',
            b'{"mod\\u0065l":"b"}',
            b'{"models":"b","Model":"b","mode":"b","response":"model","message":["model"]}',
            b'{"a":"unfinished, \\"model\\":\\"b\\"}',
            b'}{"model":"b"}',
        ],
    )
    def test_what_holds_no_name_or_is_not_understood_passes(self, text: bytes) -> None:
        for size in range(1, len(text) + 1):
            assert restored(cut(text, size)) == (text, Restored.ABSENT)

    def test_the_new_name_is_written_as_a_string(self) -> None:
        name = 'a"b\\c\n\té\u2028\x00'
        body, _ = restored([b'{"model":"x"}'], name=name)
        assert json.loads(body) == {"model": name}

    def test_nothing_waits_for_a_later_piece(self) -> None:
        restorer = ModelRestorer("chat")
        restorer.begin(JSON)
        said = [restorer.feed(piece) for piece in (b'{"mod', b'el":', b'"', b"sma", b'll"', b',"a":1', b"}")]
        assert said == [b'{"mod', b'el":', b'"chat', b"", b'"', b',"a":1', b"}"]

    def test_pieces_that_do_not_change_are_the_same_objects(self) -> None:
        restorer = ModelRestorer("chat")
        restorer.begin(JSON)
        for piece in (b'{"id":"x",', b'"n":1,'):
            assert restorer.feed(piece) is piece
        restorer.feed(b'"model":"b"')
        rest = b',"choices":[{"model":"b"}]}'
        assert restorer.feed(rest) is rest


def chunk(number: int, model: str = "small") -> bytes:
    tree = {
        "id": "c",
        "created": 17,
        "model": model,
        "choices": [{"delta": {"content": f'"model":"{number}'}}],
    }
    return b"data: " + json.dumps(tree).encode() + b"\n\n"


class TestEvents:
    @pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
    def test_every_event_is_renamed_however_the_stream_is_cut(self, end: bytes) -> None:
        parts = (
            *(chunk(n) for n in range(4)),
            b': comment "model":"no"\n\n',
            b'event: message_start\ndata:{"message":{"model":"small"}}\n\n',
            b'id: {"model":"no"}\ndata: {"delta":"\\"model\\": 1"}\n\n',
            chunk(5),
            b"data: [DONE]\n\n",
        )
        stream = b"".join(parts).replace(b"\n", end)
        expected = stream.replace(b'"small"', b'"chat"')
        assert expected != stream
        for size in range(1, len(stream) + 1):
            assert restored(cut(stream, size), EVENTS) == (expected, Restored.RESTORED)

    def test_names_that_differ_from_event_to_event(self) -> None:
        stream = [chunk(1), chunk(2, "other"), chunk(3), chunk(4, ""), chunk(5)]
        assert restored(stream, EVENTS)[0] == b"".join(chunk(n, "chat") for n in range(1, 6))

    def test_several_events_in_one_piece(self) -> None:
        stream = b"".join(chunk(n) for n in range(9))
        assert restored([stream, stream], EVENTS)[0] == stream.replace(b'"small"', b'"chat"') * 2

    def test_a_text_over_several_lines_is_one_text(self) -> None:
        stream = b'data: {"a":[\ndata: {"model":"no"}],\ndata: "model":\ndata: "small"}\n\n'
        for size in range(1, len(stream) + 1):
            assert restored(cut(stream, size), EVENTS)[0] == stream.replace(b"small", b"chat")

    @pytest.mark.parametrize(
        "stream",
        [
            b'datum: {"model":"b"}\n\n',
            b'data {"model":"b"}\n\n',
            b'{"model":"b"}\n\n',
            b'data: "{\ndata: {"model":"b"}\n\n',
            b'data: {"a\ndata: ":1,"model":"b"}\n\n',
            b'data: [{"model":"b"}]\n\n',
            b'data: {"x":{"model":"b"}}\n\n',
        ],
    )
    def test_what_holds_no_name_passes(self, stream: bytes) -> None:
        for size in range(1, len(stream) + 1):
            assert restored(cut(stream, size), EVENTS) == (stream, Restored.ABSENT)

    def test_a_name_that_is_cut_off_by_a_line_takes_nothing_with_it(self) -> None:
        stream = b'data: {"model":"sma\n\ndata: {"model":"small"}\n\n'
        for size in range(1, len(stream) + 1):
            expected = b'data: {"model":"chat\n\ndata: {"model":"chat"}\n\n'
            assert restored(cut(stream, size), EVENTS)[0] == expected


class TestOutcome:
    @pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip", "GZIP"])
    def test_compressed_answers_pass(self, encoding: str) -> None:
        body = b'{"model":"b"}'
        assert restored([body], {**JSON, "content-encoding": encoding}) == (body, Restored.ENCODED)

    @pytest.mark.parametrize("kind", ["text/plain", "", "audio/mpeg", "application/jsonlines"])
    def test_other_types_pass(self, kind: str) -> None:
        body = b'{"model":"b"}'
        assert restored([body], {"content-type": kind}) == (body, Restored.OTHER_TYPE)

    @pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/Problem+JSON"])
    def test_json_has_many_names(self, kind: str) -> None:
        assert restored([b'{"model":"b"}'], {"content-type": kind})[1] is Restored.RESTORED

    def test_identity_is_no_encoding(self) -> None:
        assert restored([b'{"model":"b"}'], {**JSON, "content-encoding": "identity"})[1] is Restored.RESTORED

    def test_no_body_came(self) -> None:
        assert restored([]) == (b"", Restored.UNSEEN)

    def test_no_answer_came(self) -> None:
        restorer = ModelRestorer("chat")
        assert (restorer.outcome, restorer.reads) == (None, False)
        assert restorer.feed(b'{"model":"b"}') == b'{"model":"b"}'
        assert restorer.outcome is None
