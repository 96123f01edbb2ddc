"""Idle connections by host, youngest first out. No I/O, no clock."""

from typing import Generic, Protocol, TypeVar

from frontend.http.limits import PoolLimits


class Closable(Protocol):
    """What a pool needs of a connection."""

    def close(self) -> None:
        """Drop it (idempotent)."""
        ...


C = TypeVar("C", bound=Closable)


class Pool(Generic[C]):
    """The youngest is the likeliest to be alive, and lets the others age until they are closed."""

    def __init__(self, limits: PoolLimits) -> None:
        self._limits = limits
        self._hosts: dict[str, dict[C, float]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def take(self, host_port: str, now_s: float) -> C | None:
        """A connection that was idle for less than the limit; older ones are closed."""
        idle = self._hosts.get(host_port)
        if not idle:
            return None
        connection, since_s = idle.popitem()
        self._count -= 1
        if not idle:
            del self._hosts[host_port]
        if now_s - since_s < self._limits.idle_s:
            return connection
        connection.close()
        return None

    def give(self, host_port: str, connection: C, now_s: float) -> None:
        """Keep it, at the cost of the longest idle of its host, or of all, when there are too many."""
        idle = self._hosts.setdefault(host_port, {})
        idle[connection] = now_s
        self._count += 1
        if len(idle) > self._limits.max_idle_per_host:
            self._close_oldest(host_port, idle)
        elif self._count > self._limits.max_idle:
            oldest = min(self._hosts, key=lambda host: next(iter(self._hosts[host].values())))
            self._close_oldest(oldest, self._hosts[oldest])

    def forget(self, host_port: str, connection: C) -> None:
        """It closed by itself; unknown ones are fine."""
        idle = self._hosts.get(host_port)
        if idle is not None and idle.pop(connection, None) is not None:
            self._count -= 1
            if not idle:
                del self._hosts[host_port]

    def sweep(self, now_s: float) -> None:
        """Close those that were idle for too long."""
        for host_port, idle in tuple(self._hosts.items()):
            while idle and now_s - next(iter(idle.values())) >= self._limits.idle_s:
                self._close_oldest(host_port, idle)

    def close(self) -> None:
        """Close all."""
        for host_port, idle in tuple(self._hosts.items()):
            while idle:
                self._close_oldest(host_port, idle)

    def _close_oldest(self, host_port: str, idle: dict[C, float]) -> None:
        connection = next(iter(idle))
        self.forget(host_port, connection)
        connection.close()
