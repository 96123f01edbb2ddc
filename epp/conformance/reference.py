"""The table of cases in docs/conformance.md.

Run ``python -m epp.conformance.reference docs/conformance.md`` after changing a case.
"""

import sys
from itertools import groupby
from pathlib import Path
from typing import Final

from epp.conformance.catalogue import AREAS, CASES
from epp.conformance.model import Case, Need, Profile

_BEGIN: Final = "<!-- generated: cases -->"
_END: Final = "<!-- end: cases -->"
_NEEDS: Final = {
    Need.ENDPOINT: "an endpoint",
    Need.ENDPOINTS: "two endpoints",
    Need.DUPLEX: "duplex",
    Need.BUFFERED: "buffered",
    Need.TLS: "TLS",
    Need.PLAINTEXT: "plaintext",
}


def case_tables() -> str:
    """Every case, one table per area, as Markdown."""
    parts: list[str] = []
    for area, cases in groupby(CASES, key=lambda case: case.area):
        parts += [f"### {area}: {AREAS[area]}", "", "| id | level | what is expected | needs | source |"]
        parts += ["|---|---|---|---|---|", *(_row(case) for case in cases), ""]
    return "\n".join(parts).rstrip()


def render(page: str) -> str:
    """The page with its table renewed; raises ValueError when a marker is missing."""
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError("the page has no place for the cases")
    return f"{before}{_BEGIN}\n\n{case_tables()}\n\n{_END}{after}"


def _row(case: Case) -> str:
    needs = [text for need, text in _NEEDS.items() if need in case.needs]
    level = f"{case.level}, profile gateway" if case.profile is Profile.GATEWAY else str(case.level)
    return f"| `{case.id}` | {level} | {case.expected} | {', '.join(needs) or '-'} | {case.source} |"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(render(path.read_text()))
