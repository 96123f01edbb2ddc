"""Where the API is said to be, and the credentials as they are at each call."""

from pathlib import Path

import pytest

from epp.discovery.kubernetes.access import AccessError, find_access
from epp.discovery.kubernetes.pool import PoolReference
from epp.wire.kubernetes.api import ApiFormatError

CONFIG = """
current-context: c
contexts: [{name: c, context: {cluster: k, user: u}}]
clusters: [{name: k, cluster: {server: "http://api:8080"}}]
users: [{name: u, user: {tokenFile: token}}]
"""


def test_a_pods_service_account_with_a_token_that_changes(tmp_path: Path) -> None:
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    access = find_access(environment, tmp_path)
    assert access.host == "[fd00::1]:443"
    for token in ("one", "two"):
        (tmp_path / "token").write_text(f"{token}\n")
        assert access.token() == token


def test_a_kubeconfig_goes_first_and_its_paths_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(CONFIG)
    (tmp_path / "token").write_text("t")
    environment = {"KUBECONFIG": str(tmp_path / "config"), "KUBERNETES_SERVICE_HOST": "h"}
    access = find_access(environment, tmp_path)
    assert (access.host, access.token(), access.tls()) == ("api:8080", "t", None)


def test_the_usual_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text(CONFIG)
    assert find_access({"HOME": str(tmp_path)}, tmp_path).host == "api:8080"


@pytest.mark.parametrize("text", ["", "a\nb", "é", "x" * 70_000])
def test_a_file_that_holds_no_token(tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_text(text)
    access = find_access({"KUBERNETES_SERVICE_HOST": "h", "KUBERNETES_SERVICE_PORT": "1"}, tmp_path)
    with pytest.raises(AccessError, match="holds no token"):
        access.token()


def test_an_empty_authority_is_not_every_authority(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("\n")
    access = find_access({"KUBERNETES_SERVICE_HOST": "h", "KUBERNETES_SERVICE_PORT": "1"}, tmp_path)
    with pytest.raises(AccessError, match="authority's file is empty"):
        access.tls()


def test_nothing_says_where_the_api_is(tmp_path: Path) -> None:
    with pytest.raises(AccessError, match="no KUBECONFIG, and not in a pod"):
        find_access({"HOME": str(tmp_path)}, tmp_path)
    with pytest.raises(AccessError, match="No such file"):
        find_access({"KUBECONFIG": str(tmp_path / "absent")}, tmp_path)
    (tmp_path / "wrong").write_text("[]")
    with pytest.raises(AccessError, match="not a mapping"):
        find_access({"KUBECONFIG": str(tmp_path / "wrong")}, tmp_path)
    with pytest.raises(AccessError, match="are no address"):
        find_access({"KUBERNETES_SERVICE_HOST": "h", "KUBERNETES_SERVICE_PORT": "x"}, tmp_path)


@pytest.mark.parametrize("changes", [{"namespace": "../x"}, {"name": "a/b"}, {"group": "A"}])
def test_names_that_must_not_stand_in_a_path(changes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="is no name"):
        PoolReference(**{"namespace": "ns", **changes})


def test_a_pool_without_the_api() -> None:
    pool = PoolReference("ns", selector="app=a", target_ports=(8000,)).without_api()
    assert pool is not None
    assert (pool.selector, pool.target_ports) == ("app=a", (8000,))
    assert PoolReference("ns", name="p").without_api() is None
    with pytest.raises(ApiFormatError, match="0 target ports"):
        PoolReference("ns", selector="app=a").without_api()
