"""Who is next, and how many may wait."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from frontend.tolerance.line import Full, Line, LinePolicy, Waiter


def order(policy: LinePolicy, *waiters: Waiter) -> list[int]:
    line = Line(policy, max_requests=100, max_tokens=None)
    for waiter in waiters:
        assert line.enter(waiter) is None
    served: list[int] = []
    while (head := line.head) is not None:
        served.append(head.number)
        line.leave(head)
    return served


EARLY_LONG = Waiter(1, 10.0, 5000)
LATER_SHORT = Waiter(2, 11.0, 10)
LAST = Waiter(3, 12.0, 100)


def test_each_policy_has_its_order() -> None:
    waiting = (EARLY_LONG, LATER_SHORT, LAST)
    assert order(LinePolicy.FCFS, *waiting) == [1, 2, 3]
    assert order(LinePolicy.LCFS, *waiting) == [3, 2, 1]
    assert order(LinePolicy.WSPT, *waiting) == [2, 3, 1]


def test_priority_helps_and_tiers_rule() -> None:
    important = Waiter(4, 13.0, 100, priority=5)
    above_all = Waiter(5, 99.0, 9000, strict_priority=1)
    assert order(LinePolicy.FCFS, EARLY_LONG, important, above_all) == [5, 4, 1]


def test_bounds_name_themselves() -> None:
    line = Line(LinePolicy.FCFS, max_requests=2, max_tokens=6000)
    assert line.enter(EARLY_LONG) is None
    assert line.enter(Waiter(9, 1.0, 2000)) is Full.TOKENS
    assert line.enter(LATER_SHORT) is None
    assert line.enter(LAST) is Full.REQUESTS


def test_one_large_request_may_wait_alone() -> None:
    assert Line(LinePolicy.FCFS, max_requests=2, max_tokens=10).enter(EARLY_LONG) is None


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 1000), st.integers(-3, 3), st.integers(0, 2))),
       st.sampled_from(LinePolicy), st.randoms(use_true_random=False))  # fmt: skip
def test_whoever_enters_leaves_once_and_tokens_add_up(
    rows: list[tuple[float, int, int, int]], policy: LinePolicy, random: Random
) -> None:
    line = Line(policy, max_requests=1000, max_tokens=None)
    waiters = [Waiter(number, *row) for number, row in enumerate(rows)]
    for waiter in waiters:
        line.enter(waiter)
    assert line.tokens == sum(w.prompt_tokens for w in waiters)
    random.shuffle(waiters)
    for left, waiter in zip(range(len(waiters) - 1, -1, -1), waiters, strict=True):
        line.leave(waiter)
        line.leave(waiter)
        assert len(line) == left
    assert line.tokens == 0
