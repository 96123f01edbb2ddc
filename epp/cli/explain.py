"""``epp explain``: what would a running picker choose for this request, and why."""

import argparse
import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

_TIMEOUT_S = 15.0

_COLUMNS = (
    ("endpoint", "endpoint"),
    ("rank", "rank"),
    ("phase", "phase"),
    ("cost", "cost"),
    ("cached", "cached_tokens"),
    ("uncached", "uncached_tokens"),
    ("queued prefill", "active_prefill_tokens"),
    ("decode blocks", "potential_decode_blocks"),
    ("in flight", "active_requests"),
    ("waiting", "waiting_requests"),
    ("kv usage", "kv_usage"),
    ("prefill tok/s", "prefill_tokens_per_s"),
    ("TTFT ms", "predicted_ttft_s"),
)
"""Heading → key of a candidate's row."""


def run(argv: Sequence[str]) -> int:
    """Ask and print; 0 when somebody would be picked, 1 when not, 2 when the picker cannot be asked."""
    arguments = _parser().parse_args(argv)
    try:
        body = _body(arguments.request)
        page = ask(arguments.target, arguments.path, arguments.header, body)
    except (OSError, ValueError) as error:
        print(f"epp explain: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps(page, indent=2))
    elif page["status"] == 200:
        print(render(page))
    else:
        print(f"nobody would be picked: {page['status']} {page.get('error')} ({page.get('reason')})")
    return 0 if page["status"] == 200 else 1


def ask(target: str, path: str, headers: Sequence[str], body: bytes) -> dict[str, Any]:
    """The picker's page for a request. Raises OSError when it cannot be reached, ValueError for nonsense."""
    query = urllib.parse.urlencode({"path": path})
    request = urllib.request.Request(f"http://{target}/debug/explain?{query}", data=body, method="POST")
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon:
            raise ValueError(f"a header needs a colon: {header!r}")
        request.add_header(name.strip(), value.strip())
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 -- see above
            page: Any = json.load(answer)
    except urllib.error.HTTPError as error:
        page = json.loads(error.read())
    if not _is_page(page):
        raise ValueError(f"{target} is not a picker's metrics port")
    return page


def render(page: Mapping[str, Any]) -> str:
    """The choice as a table, the chosen rows marked, cheapest first."""
    chosen = {_key(page.get("worker")), _key(page.get("prefill_worker"))}
    rows = sorted(page["candidates"], key=lambda row: (row["phase"], row["cost"]))
    table = [["", *(heading for heading, _ in _COLUMNS)]]
    table += [["→" if _key(row) in chosen else "", *(_cell(row, key) for _, key in _COLUMNS)] for row in rows]
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
             for line in table]  # fmt: skip
    head = [
        f"model   {page['model']}",
        f"prompt  {page['prompt_tokens']} tokens ({page['tokens']})",
        f"choice  {page['reason']}",
        "",
    ]
    return "\n".join([*head, *lines, *_scores(page)])


def _scores(page: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for row in page.get("scores", []):
        parts = "  ".join(f"{n} {s['weight']:g}x{s['score']:.3f}" for n, s in row["scores"].items())
        dropped = f"dropped by {row['dropped_by']}" if row["dropped_by"] else f"total {row['total']:.3f}"
        lines.append(f"{row['profile']}: worker {row['worker_id']} rank {row['rank']}: {dropped}  {parts}")
    return ["", *lines] if lines else []


def _cell(row: Mapping[str, Any], key: str) -> str:
    value = row[key]
    if key == "predicted_ttft_s":
        return f"{value * 1e3:.1f}" if value else "-"
    if key == "prefill_tokens_per_s" and not value:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _is_page(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict) and "status" in value


def _key(row: Mapping[str, Any] | None) -> tuple[int, int] | None:
    return None if row is None else (row["worker_id"], row["rank"])


def _body(source: str) -> bytes:
    return sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("epp explain", description=__doc__)
    parser.add_argument("request", help="file with the request body; - for standard input")
    parser.add_argument("--target", default="127.0.0.1:9090", help="HOST:PORT of the picker's metrics port")
    parser.add_argument("--path", default="/v1/chat/completions", help="path of the request")
    parser.add_argument("--header", "-H", action="append", default=[], help="request header 'name: value'")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    return parser
