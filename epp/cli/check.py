"""``epp check``: validate the configuration and show where each value came from.

Takes the flags of ``epp serve``, and ``--json``. Exit status: 0 usable, 2 not.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from epp.cli.options import build_parser, load, wants_help
from epp.config.errors import ConfigError
from epp.config.load import Loaded
from epp.config.settings import BY_PATH, shown_value, value_at
from epp.core.scheduling.building import BuiltPolicy, policy_for
from epp.core.scheduling.foreign import installed_plugins
from epp.discovery.kubernetes.making import pool_reference

_WIDEST = 40
"""Columns are padded up to here; a longer value pushes its line."""


def run(argv: Sequence[str]) -> int:
    """Run the subcommand."""
    if wants_help(argv):
        parser = build_parser("epp check")
        parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
        print(parser.format_help(), end="")
        return 0
    as_json = "--json" in argv
    try:
        loaded = load([word for word in argv if word != "--json"])
        _check_pool(loaded)
        built = _build(loaded)
    except ConfigError as error:
        _print_problems(error, as_json)
        return 2
    print(_as_json(loaded, built) if as_json else _as_table(loaded, built))
    return 0


def _check_pool(loaded: Loaded) -> None:
    """Names and labels; whether the pool is there only the cluster knows."""
    pool = loaded.config.pool
    if pool.name is not None or pool.selector is not None:
        pool_reference(pool)


def _build(loaded: Loaded) -> BuiltPolicy | None:
    """The scorer policy, which only making it can check; None when it is not used."""
    if loaded.config.picker is None and loaded.config.routing.policy != "scorers":
        return None
    return policy_for(loaded.config, clock=time.monotonic, foreign=installed_plugins())


def _print_problems(error: ConfigError, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"ok": False, "problems": list(error.problems)}, indent=2))
    for problem in error.problems:
        print(problem, file=sys.stderr)


def _as_json(loaded: Loaded, built: BuiltPolicy | None) -> str:
    values: dict[str, Any] = {
        path: {"value": value_at(loaded.config, path), "source": str(source), "origin": source.origin.value}
        for path, source in loaded.sources.items()
    }
    report = {
        "ok": True,
        "settings": values,
        "profiles": _profiles(built),
        "warnings": _warnings(loaded, built),
    }
    return json.dumps(report, indent=2, default=asdict)


def _as_table(loaded: Loaded, built: BuiltPolicy | None) -> str:
    rows = [
        (path, shown_value(value_at(loaded.config, path)), str(source))
        for path, source in loaded.sources.items()
        if path in BY_PATH
    ]
    widths = [min(_WIDEST, max(len(row[i]) for row in rows)) for i in (0, 1)]
    lines = [f"{path:<{widths[0]}}  {value:<{widths[1]}}  {source}" for path, value, source in rows]
    for profile in _profiles(built):
        lines.append(f"profile {profile['name']}: picked by {profile['picker']}")
        lines += [f"  filter {name}" for name in profile["filters"]]
        lines += [f"  scorer {name} x {weight:g}" for name, weight in profile["scorers"].items()]
    lines += [f"warning: {warning}" for warning in _warnings(loaded, built)]
    return "\n".join(lines)


def _profiles(built: BuiltPolicy | None) -> list[dict[str, Any]]:
    return [
        {
            "name": profile.name,
            "filters": [entry.name for entry in profile.filters],
            "scorers": {entry.name: entry.weight for entry in profile.scorers},
            "picker": profile.picker_name,
        }
        for profile in (built.policy.profiles if built is not None else ())
    ]


def _warnings(loaded: Loaded, built: BuiltPolicy | None) -> list[str]:
    return [*loaded.warnings, *(built.notes if built is not None else ())]
