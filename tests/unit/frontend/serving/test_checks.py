import pytest

from frontend.body import Body
from frontend.errors import ApiError
from frontend.serving import checks, fields
from frontend.serving.checks import Rules, check


def refused(raw: bytes, rules: Rules = checks.CHAT, *, nvext: bool = True) -> ApiError:
    with pytest.raises(ApiError) as raised:
        check(Body(raw), rules, nvext=nvext)
    return raised.value


def test_everything_engines_know_is_taken() -> None:
    names = sorted(fields.CHAT - {"model", "messages", "stream_options", "top_logprobs"})
    nulls = ",".join(f'"{name}":null' for name in names)
    check(Body(b'{"model":"m","messages":[1],%b}' % nulls.encode()), checks.CHAT)


@pytest.mark.parametrize(
    ("rules", "names"),
    [
        (fields.CHAT, "messages tools chat_template_kwargs kv_transfer_params bootstrap_room nvext top_k"),
        (fields.COMPLETIONS, "prompt echo best_of kv_transfer_params disaggregated_params routing"),
        (fields.EMBEDDINGS, "input dimensions encoding_format truncate_prompt_tokens"),
    ],
)
def test_each_api_has_its_fields(rules: frozenset[str], names: str) -> None:
    assert set(names.split()) <= rules


def test_deprecated_fields_are_known_nowhere() -> None:
    for known in (fields.CHAT, fields.COMPLETIONS, fields.EMBEDDINGS):
        assert not known & fields.DEPRECATED.keys()


def test_a_deprecated_field_is_not_implemented_even_beside_an_unknown_one() -> None:
    assert refused(b'{"model":"m","messages":[1],"functions":[],"bogus":1}').status == 501


def test_only_so_many_unknown_fields_are_listed_and_each_is_cut() -> None:
    names = ",".join(f'"{n:03d}{"x" * 100}":1' for n in range(50))
    message = refused(b'{"model":"m","messages":[1],%b}' % names.encode()).message
    assert message.count("`") == 40
    assert len(message) < 2000


def test_nvext_can_be_unknown() -> None:
    body = b'{"model":"m","messages":[1],"nvext":{}}'
    check(Body(body), checks.CHAT)
    assert "`nvext`" in refused(body, nvext=False).message


@pytest.mark.parametrize("messages", [b"[]", b"[ ]", b" [\n] ", b"null"])
def test_no_messages(messages: bytes) -> None:
    assert "cannot be empty" in refused(b'{"model":"m","messages":%b}' % messages).message


@pytest.mark.parametrize("messages", [b'"x"', b"{}", b"3", b"true"])
def test_messages_that_are_no_list(messages: bytes) -> None:
    assert "expected an array" in refused(b'{"model":"m","messages":%b}' % messages).message


@pytest.mark.parametrize("value", ["0", "2", "1.5", "null"])
def test_temperatures_that_pass(value: str) -> None:
    check(Body(b'{"model":"m","messages":[1],"temperature":%b}' % value.encode()), checks.CHAT)


@pytest.mark.parametrize("value", ["-0.1", "2.1", "1e400", "true", '"1"', "[]"])
def test_temperatures_that_do_not(value: str) -> None:
    assert refused(b'{"model":"m","messages":[1],"temperature":%b}' % value.encode()).status == 400


def test_top_k_may_be_off() -> None:
    check(Body(b'{"model":"m","messages":[1],"top_k":-1}'), checks.CHAT)


def test_a_prompt_may_be_scored_without_generating() -> None:
    check(Body(b'{"model":"m","prompt":"x","max_tokens":0,"echo":true}'), checks.COMPLETIONS)


def test_embeddings_of_the_prompt_stand_for_it() -> None:
    check(Body(b'{"model":"m","prompt_embeds":"x"}'), checks.COMPLETIONS)


def test_stream_options_need_a_stream() -> None:
    check(Body(b'{"model":"m","messages":[1],"stream":true,"stream_options":{}}'), checks.CHAT)
    check(Body(b'{"model":"m","messages":[1],"stream_options":null}'), checks.CHAT)
    assert refused(b'{"model":"m","messages":[1],"stream":false,"stream_options":{}}').status == 400


def test_any_body_may_do_without_a_model() -> None:
    check(Body(b"{}"), checks.ANY)
    assert refused(b'{"model":3}', checks.ANY).status == 400


@pytest.mark.parametrize("field", sorted(fields.HANDOVER))
@pytest.mark.parametrize("rules", [checks.CHAT, checks.COMPLETIONS, checks.EMBEDDINGS, checks.ANY])
def test_where_state_comes_from_is_refused_like_an_unknown_field(rules: Rules, field: str) -> None:
    raw = b'{"model":"m","messages":[1],"prompt":"x","input":"x","%b":null}' % field.encode()
    rules = Rules(rules.known and rules.known | {"messages", "prompt", "input"}, rules.required)
    if rules.known is None or field in rules.known:
        check(Body(raw), rules)
    error = refused(raw, checks.without_handover(rules))
    assert (error.status, error.message) == (400, f"Validation: Unsupported parameter(s): `{field}`")


def test_nor_may_it_hide_among_extra_arguments() -> None:
    rules = checks.without_handover(checks.CHAT)
    start = b'{"model":"m","messages":[1],"vllm_xargs":'
    check(Body(start + b'{"mine":1}}'), rules)
    check(Body(start + b"null}"), rules)
    assert "`vllm_xargs.kv_transfer_params`" in refused(start + b'{"kv_transfer_params":{}}}', rules).message
