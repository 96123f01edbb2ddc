"""The example plugin: installed as anybody would, named in a configuration, seen in the choice."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "docs" / "examples" / "python-plugin"
DEADLINE_S = 100.0

CHOOSE = """
import json, sys
from epp.cli.options import load
from epp.core.rng import SplitMix64
from epp.core.scheduling.building import policy_for
from epp.core.scheduling.foreign import installed_plugins
from tests.unit.scheduling.builders import candidate, context
label = "topology.kubernetes.io/zone"
zones = ("us-east-1a", "eu-west-1b", "eu-west-1a")
pods = [candidate(i, labels={label: zone}) for i, zone in enumerate(zones)]
config = load(sys.argv[1:]).config
policy = policy_for(config, clock=lambda: 0.0, foreign=installed_plugins()).policy
choice = policy.choose(context(*pods), SplitMix64(1))
rows = {row["worker_id"]: row["scores"]["prefer-zone"] for row in choice.explanation[0].rows()}
print(json.dumps({"chosen": choice.primary[0].worker.worker_id, "rows": rows,
                  "failures": policy.readings()[0].failures}))
"""


def run(*argv: str, path: str = "") -> "subprocess.CompletedProcess[str]":
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [path, str(ROOT)]))}
    return subprocess.run(
        [sys.executable, *argv], env=environ, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    pip = ["-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    done = run(*pip, "--disable-pip-version-check", "--target", str(folder), str(EXAMPLE))
    assert done.returncode == 0, done.stderr
    return folder


def test_its_effect_is_seen_in_the_choice(target: Path) -> None:
    done = run("-c", CHOOSE, "--config-file", str(EXAMPLE / "picker.yaml"), path=str(target))
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["chosen"] == 2
    assert seen["rows"] == {
        "0": {"weight": 2.0, "score": 0.0},
        "1": {"weight": 2.0, "score": 0.5},
        "2": {"weight": 2.0, "score": 1.0},
    }
    assert seen["failures"] == 0


def test_epp_check_shows_it(target: Path) -> None:
    done = run("-m", "epp", "check", "--config-file", str(EXAMPLE / "picker.yaml"), path=str(target))
    assert done.returncode == 0, done.stderr
    assert "scorer prefer-zone x 2" in done.stdout


def test_a_mistake_in_its_parameters_is_told_at_start(target: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "picker.yaml"
    wrong.write_text((EXAMPLE / "picker.yaml").read_text().replace("zone: ", "zoen: "))
    done = run("-m", "epp", "check", "--config-file", str(wrong), path=str(target))
    assert done.returncode == 2
    assert "Plugin 'prefer-zone' of package epp-prefer-zone cannot be made" in done.stderr


def test_where_it_is_not_installed_its_type_is_refused_by_name() -> None:
    done = run("-m", "epp", "check", "--config-file", str(EXAMPLE / "picker.yaml"))
    assert done.returncode == 2
    assert "not supported: 'prefer-zone' (plugins[2])" in done.stderr
