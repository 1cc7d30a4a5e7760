"""The command line: one module a command, heavy imports inside the commands."""

from __future__ import annotations

from flows.cli.app import main

__all__ = ["main"]
