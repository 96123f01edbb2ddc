"""A pod network of Linux namespaces: every pod has an address of its own, every Service a stable one.

All of it lives in the network namespace that ``python -m tests.interop.gateways`` made, and goes with it: a
bridge, a namespace per pod joined to it, and the rules that kube-proxy would write for Services. Network
policies are not enforced.
"""

import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

NODE: Final = "10.9.0.1"
"""The node's own address: the API server listens here."""
_BRIDGE: Final = "pods"
_RUN_S: Final = 60.0
_CHAIN: Final = "SERVICES"
SERVICES: Final = "10.0.0.0/24"
"""Addresses of Services; the API server hands them out."""


class Rule(NamedTuple):
    """One port of a Service."""

    address: str
    port: int
    behind: Sequence[tuple[str, int]]
    """Address and port of the ready pods; each new connection goes to one at random."""


@dataclass(frozen=True, slots=True)
class PodNetwork:
    """The network namespace of one pod, held by a process that does nothing."""

    address: str
    holder: subprocess.Popen[bytes]

    @property
    def enter(self) -> tuple[str, ...]:
        """What to put before a command that shall run in it."""
        return ("nsenter", f"--net=/proc/{self.holder.pid}/ns/net")

    def close(self) -> None:
        """End it; its address is gone at once."""
        self.holder.kill()
        self.holder.wait(_RUN_S)


def ours() -> bool:
    """Whether this process is in a network namespace with the bridge in it, so that the tests may use it."""
    return any(name == _BRIDGE for _, name in socket.if_nameindex())


def create() -> None:
    """Make the bridge and the place for Services' rules, in a new and empty network namespace."""
    _ip("link", "set", "lo", "up")
    _ip("link", "add", _BRIDGE, "type", "bridge")
    _ip("addr", "add", f"{NODE}/16", "dev", _BRIDGE)
    _ip("link", "set", _BRIDGE, "up")
    _ip("route", "add", SERVICES, "dev", _BRIDGE)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    _nat("-N", _CHAIN)
    for hook in ("PREROUTING", "OUTPUT"):
        _nat("-A", hook, "-j", _CHAIN)
    _nat("-A", "POSTROUTING", "-m", "conntrack", "--ctstate", "DNAT", "-j", "MASQUERADE")
    for hook in ("FORWARD", "OUTPUT"):  # whatever still goes to a Service has nobody behind it
        _run("iptables", "-A", hook, "-d", SERVICES, "-j", "REJECT")


def join(number: int) -> PodNetwork:
    """A pod's namespace; ``number`` is the pod's and is not used twice."""
    address = f"10.9.{1 + number // 250}.{1 + number % 250}"
    holder = subprocess.Popen(
        ("unshare", "--net", "sh", "-c", "echo; exec sleep infinity"), stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    with holder.stdout as said:
        said.readline()  # it is in the namespace now
    pod = PodNetwork(address, holder)
    outside = f"pod{number}"
    _ip("link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
    _ip("link", "set", outside, "master", _BRIDGE, "up")
    for command in (
        ("link", "set", "lo", "up"),
        ("addr", "add", f"{address}/16", "dev", "eth0"),
        ("link", "set", "eth0", "up"),
        ("route", "add", "default", "via", NODE),
    ):
        _run(*pod.enter, "ip", *command)
    return pod


def inward() -> None:
    """Let what listens on loopback in the namespace of this process be reached at its pod's address."""
    Path("/proc/sys/net/ipv4/conf/eth0/route_localnet").write_text("1")
    _nat("-A", "PREROUTING", "-i", "eth0", "-p", "tcp", "-j", "DNAT", "--to-destination", "127.0.0.1")


def publish(services: Sequence[Rule]) -> None:
    """All Services' rules anew; ports with nobody behind them refuse, as kube-proxy's do."""
    lines = [f"-F {_CHAIN}"]
    for rule in services:
        to = f"-A {_CHAIN} -d {rule.address} -p tcp --dport {rule.port}"
        for left, (pod, target) in zip(range(len(rule.behind), 0, -1), rule.behind, strict=True):
            share = f"-m statistic --mode random --probability {1 / left:.6f}"
            lines.append(f"{to} {share} -j DNAT --to-destination {pod}:{target}")
    text = "\n".join(("*nat", *lines, "COMMIT", ""))
    subprocess.run(("iptables-restore", "--noflush"), input=text.encode(), check=True, timeout=_RUN_S)


def _nat(*arguments: str) -> None:
    _run("iptables", "-t", "nat", *arguments)


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=_RUN_S)
