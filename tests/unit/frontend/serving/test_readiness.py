import pytest

from epp.core.endpoints import Endpoint, Role
from frontend.serving.readiness import not_ready, readiness, report


def pool(*roles: Role, namespace: str = "default") -> list[Endpoint]:
    return [
        Endpoint(f"w{n}", "10.0.0.1", 8000 + n, n, namespace=namespace, role=role)
        for n, role in enumerate(roles)
    ]


@pytest.mark.parametrize(
    ("roles", "ready", "missing"),
    [
        ([], False, []),
        ([Role.AGGREGATED], True, []),
        ([Role.DECODE], False, ["prefill"]),
        ([Role.PREFILL], False, ["decode"]),
        ([Role.PREFILL, Role.DECODE], True, []),
        ([Role.AGGREGATED, Role.DECODE], True, ["prefill"]),
        ([Role.ENCODE], False, ["aggregated"]),
        ([Role.ENCODE, Role.AGGREGATED], True, []),
        ([Role.ENCODE, Role.PREFILL, Role.DECODE], True, []),
    ],
)
def test_what_is_missing(roles: list[Role], ready: bool, missing: list[str]) -> None:
    page = report("m", readiness(pool(*roles)))
    assert page["ready"] is ready
    assert ("reason" in page) is not ready
    if roles:
        assert page["namespaces"]["default"]["missing_worker_types"] == missing


def test_decode_workers_serve_alone_where_nothing_is_split() -> None:
    assert report("m", readiness(pool(Role.DECODE), split=False))["ready"]


def test_one_namespace_is_enough_but_two_halves_are_not_one() -> None:
    halves = [*pool(Role.PREFILL, namespace="a"), *pool(Role.DECODE, namespace="b")]
    page = report("m", readiness(halves))
    assert not page["ready"]
    assert page["reason"] == "missing worker types: decode, prefill"
    assert report("m", readiness([*halves, *pool(Role.AGGREGATED, namespace="c")]))["ready"]


def test_what_the_frontend_itself_lacks_counts_too() -> None:
    page = report("m", readiness(pool(Role.AGGREGATED)), lacking="tokenizer loading")
    assert (page["ready"], page["reason"]) == (False, "tokenizer loading")
    assert page["namespaces"]["default"]["ready"]
    assert report("m", {}, lacking="tokenizer loading")["reason"] == "no workers"


def test_the_refusal() -> None:
    error = not_ready("m", readiness(pool(Role.DECODE)))
    assert error.status == 503
    assert error.message == ("Model `m` is not ready to serve requests yet. (Missing worker types: prefill.)")
    assert "No workers" in not_ready("m", {}).message
