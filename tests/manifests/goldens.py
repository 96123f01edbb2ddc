"""Recorded renderings; of a set with a picker only what differs from ``base``.

``python -m tests.manifests.renew`` writes them, and the Envoy configurations, anew.
"""

from pathlib import Path

import yaml

from tests.manifests.built import PICKERS, WITH_COMPONENT, Object, objects

GOLDEN = Path(__file__).parents[1] / "golden" / "manifests"


def path_of(name: str) -> Path:
    """The file of a set."""
    return GOLDEN / f"{name.replace('/', '-')}.yaml"


def recorded(name: str) -> str:
    """What the file of a set should say."""
    shown = objects(name)
    if name != "base" and (name in PICKERS or name in WITH_COMPONENT):
        below = objects("base" if name in PICKERS else "overlays/istio")
        gone = [_named(thing) for thing in below if _named(thing) not in map(_named, shown)]
        head = "".join(f"# without {kind} {called}\n" for kind, called in gone)
        return head + _dump(tuple(thing for thing in shown if thing not in below))
    return _dump(shown)


def _named(thing: Object) -> tuple[str, str]:
    return thing["kind"], thing["metadata"]["name"]


def _dump(things: tuple[Object, ...]) -> str:
    return yaml.dump_all(things, Dumper=yaml.CSafeDumper, sort_keys=True, width=120)
