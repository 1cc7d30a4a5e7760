"""Under which conditions a benchmark ran: what stands over its figures."""

from __future__ import annotations

import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def conditions(*packages: str) -> dict[str, str]:
    """Command, date, processor and versions, as words."""
    script = Path(sys.argv[0]).name
    words = sys.argv[1:]
    paths = {number for number, word in enumerate(words) if word.startswith("/")}  # of a machine, with their options
    shown = [word for number, word in enumerate(words) if not {number, number + 1} & paths]
    return {
        "command": " ".join(["python", f"tests/benchmarks/{script}", *shown]),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "versions": ", ".join(f"{name} {version(name)}" for name in ("revs", *packages)),
    }


def heading(title: str, under: dict[str, str]) -> list[str]:
    """The first lines of a page of figures."""
    return [f"# {title}", "", f"`{under['command']}`, {under['date']}; {under['versions']}; {under['machine']}.", ""]
