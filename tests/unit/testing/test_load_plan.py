"""Plans and their progress, without a clock."""

from dataclasses import replace

import pytest

from epp.testing.load.plan import Kind, LoadSpec, make_plan
from epp.testing.load.run import LoadRun

SPEC = LoadSpec(
    seconds=10, rate_per_s=10, chats=3, chat_turns=4, documents=2, document_words=20, system_words=10,
    one_off_words=15, question_words=5,
)  # fmt: skip


def test_equal_specs_give_equal_plans_and_other_seeds_do_not() -> None:
    assert make_plan(SPEC) == make_plan(SPEC)
    assert make_plan(SPEC) != make_plan(replace(SPEC, seed=2))


def test_a_plan_is_bounded_ordered_and_mixed() -> None:
    requests = make_plan(SPEC).requests
    assert len(requests) == 100
    assert [r.at_s for r in requests] == sorted(r.at_s for r in requests)
    assert {r.kind for r in requests} == set(Kind)
    assert len({r.system for r in requests if r.kind is Kind.CHAT}) <= SPEC.systems


def test_documents_repeat_and_one_offs_do_not() -> None:
    requests = make_plan(SPEC).requests
    documents = {r.text.partition("\n\n")[0] for r in requests if r.kind is Kind.DOCUMENT}
    one_offs = [r.text for r in requests if r.kind is Kind.ONE_OFF]
    assert len(documents) == SPEC.documents
    assert len(set(one_offs)) == len(one_offs)


def test_a_turn_waits_for_the_answer_before_it_and_carries_it() -> None:
    plan = make_plan(replace(SPEC, chat_share=1.0, document_share=0.0, chats=1, chat_turns=100))
    run = LoadRun(plan)
    (first,) = run.due(1e9)
    assert run.next_at_s is None, "the second turn needs the first answer"
    run.finished(first, "forty-two", now_s=500.0)
    (second,) = run.due(500.0)
    assert [m["role"] for m in run.messages(second)] == ["system", "user", "assistant", "user"]
    assert run.messages(second)[2]["content"] == "forty-two"


def test_a_run_ends_when_every_request_ended() -> None:
    run = LoadRun(make_plan(SPEC))
    while not run.done:
        for request in run.due(1e9):
            run.finished(request, "", now_s=1e9)
    assert run.ended == run.total == 100


def test_nothing_starts_before_its_time() -> None:
    plan = make_plan(SPEC)
    run = LoadRun(plan)
    assert run.due(plan.requests[0].at_s - 1e-6) == []
    assert run.due(plan.requests[0].at_s) == [plan.requests[0]]


def test_fixed_concurrency_keeps_so_many_running() -> None:
    run = LoadRun(make_plan(replace(SPEC, fixed_concurrency=True, max_in_flight=3, chat_share=0.0)))
    started = run.due(0.0)
    assert len(started) == 3
    assert run.due(0.0) == []
    run.finished(started[0], "", now_s=1.0)
    assert len(run.due(1.0)) == 1


@pytest.mark.parametrize(
    "changes",
    [{"chat_share": 0.7, "document_share": 0.4}, {"chats": 0}, {"seconds": 0.01, "rate_per_s": 1.0}],
)
def test_impossible_loads_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        replace(SPEC, **changes)  # type: ignore[arg-type] -- the cases mix types on purpose
