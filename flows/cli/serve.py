"""`revs serve`: Prefect server, MLflow server and the schedule on this machine."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    app.command()(serve)


def serve() -> None:
    """Run the servers and the scheduled deployment on 127.0.0.1 until interrupted."""
