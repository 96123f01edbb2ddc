"""Writes the generated parts of docs/protocol.md from the exchange's tables.

Run ``python -m tests.conventions.protocol_page`` after changing a table.
"""

from pathlib import Path

from epp.core.exchange_states import REQUEST_TABLE, RESPONSE_TABLE, Signal, State
from epp.core.headers import CLIENT_WORDS, GATEWAY_ONLY, STEERING, STEERING_FAMILIES

PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"


def request_diagram() -> str:
    """The request side as a Mermaid state diagram; what changes nothing is left out."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> start"]
    for state, row in REQUEST_TABLE.items():
        targets: dict[State, list[Signal]] = {}
        for signal, transition in row.items():
            if transition.to is not state and signal is not Signal.ENDED:
                targets.setdefault(transition.to, []).append(signal)
        for to, signals in targets.items():
            label = " / ".join(signal.value for signal in signals)
            lines.append(f"    {_name(state)} --> {_name(to)}: {label}")
    return "\n".join([*lines, "    closed --> [*]", "```"])


def request_table() -> str:
    """Every legal pair and its step."""
    lines = ["| state | signal | step | next |", "|---|---|---|---|"]
    for state, row in REQUEST_TABLE.items():
        if state is State.CLOSED:
            continue
        lines += [
            f"| {state} | {signal} | {t.step} | {t.to} |"
            for signal, t in row.items()
            if signal is not Signal.IDLE
        ]
    return "\n".join(lines)


def response_diagram() -> str:
    """The response side as a Mermaid state diagram."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> awaited"]
    for state, row in RESPONSE_TABLE.items():
        lines += [f"    {state} --> {to}: {signal}" for signal, to in row.items()]
    return "\n".join([*lines, "    done --> [*]", "```"])


def header_names() -> str:
    """Header names hidden from the engine and removed from requests."""
    lines = [f"- `{name}` (always)" for name in sorted(GATEWAY_ONLY)]
    lines += [f"- `{name}`" for name in sorted(STEERING)]
    for family in STEERING_FAMILIES:
        kept = [f"`{name}`" for name in sorted(CLIENT_WORDS) if name.startswith(family)]
        lines.append(f"- `{family}*`" + (f", but for {', '.join(kept)}" if kept else ""))
    return "\n".join(lines)


PARTS = {
    "request-diagram": request_diagram,
    "request-table": request_table,
    "response-diagram": response_diagram,
    "header-names": header_names,
}


def render(page: str) -> str:
    """The page with its generated parts renewed; raises ValueError when a marker is missing."""
    for name, part in PARTS.items():
        begin, end = f"<!-- generated: {name} -->", f"<!-- end: {name} -->"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"docs/protocol.md has no part {name}")
        page = f"{before}{begin}\n\n{part()}\n\n{end}{after}"
    return page


def _name(state: State) -> str:
    return state.value.replace("-", "_")


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text()))
