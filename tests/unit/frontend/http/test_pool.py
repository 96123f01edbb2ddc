from frontend.http.limits import PoolLimits
from frontend.http.pool import Pool


class Thing:
    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


def test_the_youngest_goes_out_first() -> None:
    pool: Pool[Thing] = Pool(PoolLimits())
    old, young = Thing(), Thing()
    pool.give("a", old, 1.0)
    pool.give("a", young, 2.0)
    assert len(pool) == 2
    assert pool.take("b", 3.0) is None
    assert pool.take("a", 3.0) is young
    assert pool.take("a", 3.0) is old
    assert pool.take("a", 3.0) is None
    assert len(pool) == 0


def test_one_that_is_too_old_is_closed_not_given() -> None:
    pool: Pool[Thing] = Pool(PoolLimits(idle_s=10))
    thing = Thing()
    pool.give("a", thing, 0.0)
    assert pool.take("a", 10.0) is None
    assert thing.closed
    assert len(pool) == 0


def test_a_host_keeps_so_many() -> None:
    pool: Pool[Thing] = Pool(PoolLimits(max_idle_per_host=2))
    things = [Thing() for _ in range(3)]
    for now_s, thing in enumerate(things):
        pool.give("a", thing, now_s)
    assert [thing.closed for thing in things] == [True, False, False]
    assert len(pool) == 2


def test_all_hosts_keep_so_many() -> None:
    pool: Pool[Thing] = Pool(PoolLimits(max_idle=2))
    things = [Thing() for _ in range(3)]
    for now_s, (host, thing) in enumerate(zip("bac", things, strict=True)):
        pool.give(host, thing, now_s)
    assert [thing.closed for thing in things] == [True, False, False]
    assert pool.take("b", 3.0) is None
    assert pool.take("c", 3.0) is things[2]


def test_sweeping_and_forgetting() -> None:
    pool: Pool[Thing] = Pool(PoolLimits(idle_s=10))
    things = [Thing() for _ in range(3)]
    for now_s, thing in enumerate(things):
        pool.give("a", thing, now_s)
    pool.sweep(10.5)
    assert [thing.closed for thing in things] == [True, False, False]
    pool.forget("a", things[1])
    pool.forget("a", things[1])
    pool.forget("b", things[1])
    assert len(pool) == 1
    pool.close()
    assert [thing.closed for thing in things] == [True, False, True]
    assert len(pool) == 0
