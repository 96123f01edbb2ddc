"""The command line: what ends at once, and with which sentence."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from epp.config.errors import ConfigError
from epp.config.model import EtcdConfig
from frontend.cli.serving import require_etcd


def frontend(*flags: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "frontend", *flags]
    return subprocess.run(argv, capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--http-prot=1"], "There is no flag --http-prot; did you mean --http-port?"),
        (["--tls-cert-path=c"], "--tls-key-path=none (the default)"),
        (["--event-plane=nats"], "--event-plane=nats is not supported"),
        (["--discovery-backend=kubernetes"], "--pool-name=none (the default)"),
        (["check", "--router-mode=direct", "--migration-limit=2"], "migration_limit"),
        (["--discovery-backend=file"], "discovery by a file needs one"),
        (["--dump-config-to=/no/such/folder/x", "--discovery-backend=mem"], "No such file or directory"),
    ],
)
def test_what_cannot_be_started(flags: list[str], says: str) -> None:
    ended = frontend(*flags)
    assert ended.returncode == 2
    assert says in ended.stderr
    assert ended.stdout == ""


async def test_without_etcd_and_without_a_file_it_says_what_to_give(refusing_port: int) -> None:
    etcd = EtcdConfig(endpoints=(f"http://127.0.0.1:{refusing_port}",))
    with pytest.raises(ConfigError, match=r"Nothing names the workers.*give --endpoints-file, or --etcd"):
        await require_etcd(etcd)


def test_check_shows_values_with_their_places_and_dumps_them(tmp_path: Path) -> None:
    path = tmp_path / "dump.json"
    ended = frontend("check", "--discovery-backend=mem", f"--dump-config-to={path}", "--router-ttl-secs=7")
    assert ended.returncode == 0, ended.stderr
    lines = {line.split()[0]: line for line in ended.stdout.splitlines()}
    assert lines["picker.routing.predicted_ttl_s"].endswith("--router-ttl-secs on the command line")
    dumped = json.loads(path.read_text())["settings"]["picker.routing.predicted_ttl_s"]
    assert dumped == {
        "value": 7.0,
        "source": "--router-ttl-secs on the command line",
        "origin": "command line",
    }


def test_help_and_version() -> None:
    assert "--router-mode" in frontend("--help").stdout
    assert frontend("--version").stdout.startswith("frontend ")


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "becomes"), [(64, 128, 100, 100), (64, 80, 100, 80), (120, 128, 100, 120)]
)
def test_as_many_files_as_connections_need(soft: int, hard: int, wanted: int, becomes: int) -> None:
    program = (
        f"import resource as r; r.setrlimit(r.RLIMIT_NOFILE, ({soft}, {hard}));"
        f"from frontend.cli.serving import allow_files; allow_files({wanted});"
        "print(*r.getrlimit(r.RLIMIT_NOFILE))"
    )
    argv = [sys.executable, "-c", program]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=100, check=False)
    assert said.stdout.split() == [str(becomes), str(hard)], said.stderr
