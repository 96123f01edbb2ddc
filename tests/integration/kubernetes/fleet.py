"""Pods that come, change and go at addresses that all stay there: what the API server is told, and noted."""

import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from epp.testing.kubeapi.objects import PODS, POOLS, pod, status
from epp.testing.kubeapi.server import Admin
from tests.integration.kubernetes.timeline import Timeline

LABEL: Final = "inference-pool"
"""By which the shipped pool selects."""
_LEAST_READY: Final = 4
"""So many of a team are left alone."""


@dataclass(slots=True)
class _Member:
    team: str
    address: str
    is_ready: bool = False
    is_ending: bool = False


class Fleet:
    """Blocking, for one thread at a time. An address has one pod at a time, and rests as long as can be."""

    def __init__(self, admin: Admin, addresses: Sequence[str], team: str, port: int) -> None:
        """``team`` is the pool's; ``port`` the one its pods are said to serve on."""
        self.timeline = Timeline()
        self.made = 0
        """Pods ever created."""
        self.paced: Callable[[], object] = lambda: None
        """Called before each step of a churn; waits until the traffic has kept up."""
        self._admin = admin
        self._pods = PODS.format("llm")
        self._pool = f"{POOLS.format('llm')}/llm"
        self._port = port
        self._team = team
        self._free = deque(addresses)
        self._members: dict[str, _Member] = {}
        self._draw = random.Random(11)

    @property
    def serving(self) -> set[str]:
        """Addresses of the pods that are in the pool and Ready."""
        return {member.address for member in self._members.values() if self._serves(member)}

    def grow(self, team: str, count: int) -> None:
        """So many more pods of a team, all Ready."""
        for _ in range(count):
            self._add(team)

    def churn(self, team: str, steps: int, size: int) -> None:
        """So many things happen to pods of one team, which keeps to a size."""
        for _ in range(steps):
            self.paced()
            self._step(team, size)

    def switch(self, team: str) -> None:
        """The pool selects the other team."""
        began_s = time.monotonic()
        self._admin.patch(self._pool, {"spec": {"selector": {"matchLabels": {LABEL: team}}}})
        self._team = team
        for member in self._members.values():
            self._note(member.address, began_s, serves=self._serves(member))

    def open_pool(self) -> None:
        """The pool's pods serve on our port."""
        self._admin.patch(self._pool, {"spec": {"targetPorts": [{"number": self._port}]}})

    def _step(self, team: str, size: int) -> None:
        present = {name: member for name, member in self._members.items() if member.team == team}
        ready = [name for name, member in present.items() if member.is_ready and not member.is_ending]
        others = [name for name in present if name not in ready]
        if len(present) < size or len(ready) <= _LEAST_READY:
            self._add(team)
        elif others and self._draw.random() < len(others) / len(present):
            self._change_absent(self._draw.choice(others))
        else:
            change = self._draw.choice((self._unready, self._end, self._end, self._remove, self._move))
            change(self._draw.choice(ready))

    def _change_absent(self, name: str) -> None:
        if self._members[name].is_ending or self._draw.random() < 0.5:
            self._remove(name)
        else:
            self._place(name)

    def _add(self, team: str) -> None:
        name = f"worker-{self.made}"
        self.made += 1
        self._admin.create(self._pods, pod(name, {LABEL: team}))
        self._members[name] = _Member(team, self._free.popleft())
        self._place(name)

    def _place(self, name: str) -> None:
        """Ready, at its address."""
        self._write_status(name, is_ready=True)

    def _unready(self, name: str) -> None:
        self._write_status(name, is_ready=False)

    def _move(self, name: str) -> None:
        """Another address from one moment to the next."""
        member, began_s = self._members[name], time.monotonic()
        left, member.address = member.address, self._free.popleft()
        self._place(name)
        self._note(left, began_s, serves=False)
        self._free.append(left)

    def _write_status(self, name: str, *, is_ready: bool) -> None:
        member, began_s = self._members[name], time.monotonic()
        self._admin.patch(f"{self._pods}/{name}/status", status((member.address,), ready=is_ready))
        member.is_ready = is_ready
        self._note(member.address, began_s, serves=self._serves(member))

    def _end(self, name: str) -> None:
        """It is Ready still, and terminating for longer than the test takes."""
        began_s = time.monotonic()
        self._admin.delete(f"{self._pods}/{name}", gracePeriodSeconds=600)
        self._members[name].is_ending = True
        self._note(self._members[name].address, began_s, serves=False)

    def _remove(self, name: str) -> None:
        began_s = time.monotonic()
        self._admin.delete(f"{self._pods}/{name}")
        member = self._members.pop(name)
        self._note(member.address, began_s, serves=False)
        self._free.append(member.address)

    def _serves(self, member: _Member) -> bool:
        return member.is_ready and not member.is_ending and member.team == self._team

    def _note(self, address: str, began_s: float, *, serves: bool) -> None:
        self.timeline.note(address, serves=serves, began_s=began_s, done_s=time.monotonic())
