"""``epp conformance``: test any endpoint picker from outside, as the gateway would meet it.

Plays the gateway over ext_proc and says, case by case, what the picker kept of the Endpoint Picker Protocol
and of Envoy's contract. Exit status: 0 no required case failed, 1 one did, 2 nothing could be tried.
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from epp.conformance import report
from epp.conformance.bench import Target
from epp.conformance.catalogue import chosen
from epp.conformance.model import Case, Profile, Result
from epp.conformance.runner import UnreachableError, run_cases
from epp.conformance.transport import Address, Security, parse_address

_WIDEST = 120
_LONGEST_WAIT_S = 120.0


def run(argv: Sequence[str]) -> int:
    """Run the subcommand."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    cases = chosen(Profile(arguments.profile), tuple(arguments.only))
    if arguments.list:
        print("\n".join(f"{case.id:<30}  {case.level:<11}  {case.expected}" for case in cases))
        return 0
    if not cases:
        parser.error("no case's id holds what --only says")
    try:
        target = _target(arguments)
    except ValueError as error:
        parser.error(str(error))
    try:
        return asyncio.run(_run(target, cases, arguments))
    except (UnreachableError, OSError) as error:
        print(f"epp conformance: {error}", file=sys.stderr)
        return 2


async def _run(target: Target, cases: Sequence[Case], arguments: argparse.Namespace) -> int:
    style = _style(verbose=arguments.verbose)
    teller = _Teller(style, quiet=arguments.json)
    teller.title(target)
    results = await run_cases(target, cases, teller.tell)
    document = json.dumps(report.document(target, results), indent=2)
    if arguments.report:
        await asyncio.to_thread(Path(arguments.report).write_text, document + "\n")
    print(document if arguments.json else report.summary(results, style))
    return 0 if report.conforms(results) else 1


class _Teller:
    """Prints results as they come, with a heading where an area begins."""

    def __init__(self, style: report.Style, *, quiet: bool) -> None:
        self._style = style
        self._quiet = quiet
        self._area = ""

    def title(self, target: Target) -> None:
        """Print who is tested."""
        if not self._quiet:
            print(report.title(target), flush=True)

    def tell(self, result: Result) -> None:
        """Print one result."""
        if self._quiet:
            return
        if result.case.area != self._area:
            self._area = result.case.area
            print(report.area_line(self._area, self._style))
        print(report.result_lines(result, self._style), flush=True)


def _style(*, verbose: bool) -> report.Style:
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return report.Style(colours, min(_WIDEST, shutil.get_terminal_size((_WIDEST, 0)).columns), verbose)


def _target(arguments: argparse.Namespace) -> Target:
    """The picker as the command line describes it. Raises ValueError."""
    if not 0 < arguments.timeout <= _LONGEST_WAIT_S:
        raise ValueError(f"--timeout is more than 0 and at most {_LONGEST_WAIT_S:g} seconds")
    for endpoint in arguments.endpoint:
        parse_address(endpoint)
    security = Security.UNVERIFIED
    if arguments.plaintext:
        security = Security.PLAINTEXT
    elif arguments.tls_ca:
        security = Security.VERIFIED
    host, port = parse_address(arguments.target)
    health = parse_address(arguments.health_target) if arguments.health_target else None
    return Target(
        address=Address(host, port, security, arguments.tls_ca),
        endpoints=tuple(dict.fromkeys(arguments.endpoint)),
        model=arguments.model,
        health=Address(*health, Security.PLAINTEXT) if health else None,
        timeout_s=arguments.timeout,
        duplex=arguments.body_mode != "buffered",
        buffered=arguments.body_mode != "duplex",
        profile=Profile(arguments.profile),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "epp conformance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--target", default="127.0.0.1:9002", metavar="HOST:PORT", help="the picker's ext_proc port")
    add(
        "--endpoint",
        action="append",
        default=[],
        metavar="IP:PORT",
        help="an endpoint of its pool; repeat for each. Without them, cases that need them are skipped",
    )
    security = parser.add_mutually_exclusive_group()
    security.add_argument("--plaintext", action="store_true", help="HTTP/2 without TLS")
    security.add_argument("--tls-ca", metavar="FILE", help="PEM file; the certificate must be signed by it")
    security.add_argument(
        "--insecure",
        action="store_true",
        help="TLS, the certificate not verified, as gateways do it (the default)",
    )
    add("--health-target", metavar="HOST:PORT", help="plaintext gRPC health port, often 9003")
    add("--model", default="model", help="a model name the picker's pool serves")
    add("--body-mode", choices=("duplex", "buffered", "both"), default="both", help="bodies to try")
    add("--profile", choices=[p.value for p in Profile], default="epp", help="which cases; see --list")
    add("--only", action="append", default=[], metavar="PATTERN", help="only cases whose id holds this")
    add("--timeout", type=float, default=5.0, metavar="S", help="wait this long for each answer")
    add("--verbose", "-v", action="store_true", help="say of every case what was expected, and its source")
    add("--json", action="store_true", help="print the report as JSON instead of a table")
    add("--report", metavar="FILE", help="write the report as JSON to a file as well")
    add("--list", action="store_true", help="say which cases there are, and try none")
    return parser
