"""When workers are left alone, and when they are tried again."""

from frontend.tolerance.breaker import Breakers


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def made(failures: int = 3) -> tuple[Breakers, Clock, list[tuple[int, bool]]]:
    clock, told = Clock(), list[tuple[int, bool]]()
    breakers = Breakers(failures=failures, open_s=10.0, clock=clock, changed=lambda w, o: told.append((w, o)))
    return breakers, clock, told


def test_failures_in_a_row_open_the_circuit_of_that_worker_alone() -> None:
    breakers, _, told = made()
    for _ in range(3):
        assert breakers.usable(1)
        assert breakers.all_usable()
        breakers.failed(1)
    assert not breakers.usable(1)
    assert not breakers.all_usable()
    assert breakers.usable(2)
    assert told == [(1, True)]
    assert breakers.open_circuits == (1,)


def test_a_success_in_between_starts_the_count_again() -> None:
    breakers, _, _ = made()
    for outcome in (breakers.failed, breakers.failed, breakers.succeeded, breakers.failed, breakers.failed):
        outcome(1)
    assert breakers.usable(1)


def test_after_a_while_one_request_at_a_time_tries_the_worker() -> None:
    breakers, clock, told = made()
    for _ in range(3):
        breakers.failed(1)
    clock.now_s += 10.0
    assert breakers.usable(1)
    breakers.sent(1)
    assert not breakers.usable(1), "one is out already"
    breakers.failed(1)
    assert not breakers.usable(1), "one failure is enough now"
    clock.now_s += 10.0
    breakers.sent(1)
    breakers.succeeded(1)
    assert breakers.usable(1)
    assert told == [(1, True), (1, False)]


def test_a_trial_whose_client_left_does_not_block_for_ever() -> None:
    breakers, clock, _ = made()
    for _ in range(3):
        breakers.failed(1)
    clock.now_s += 10.0
    breakers.sent(1)
    clock.now_s += 10.0
    assert breakers.usable(1)


def test_zero_never_opens() -> None:
    breakers, _, told = made(failures=0)
    for _ in range(100):
        breakers.failed(1)
    assert breakers.usable(1)
    assert told == []


def test_workers_that_are_gone_are_forgotten() -> None:
    breakers, _, told = made()
    for _ in range(3):
        breakers.failed(1)
    breakers.keep_only([2])
    assert breakers.usable(1)
    assert told[-1] == (1, False)
