"""Telling how far the demo is: a bar on a terminal, a few lines anywhere else."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

_PLAIN_STEPS = 4
"""Lines per act when there is no terminal."""

Report = Callable[[int, int], None]
"""Takes (done, total)."""


@contextmanager
def progress(console: Console, label: str) -> Generator[Report]:
    """A reporter that lives as long as the block."""
    if not console.is_terminal:
        yield _plain(console, label)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, refresh_per_second=5) as bar:
        task = bar.add_task(label)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _plain(console: Console, label: str) -> Report:
    shown = 0

    def report(done: int, total: int) -> None:
        nonlocal shown
        reached = done * _PLAIN_STEPS // total
        if reached > shown:
            shown = reached
            console.print(f"{label}: {done}/{total}", highlight=False, markup=False)

    return report
