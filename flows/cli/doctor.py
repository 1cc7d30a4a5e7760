"""`revs doctor`: whether this installation can do its work."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import typer

from flows.cli.common import Home, Json, emit, settings_of, table
from revs.errors import OperationFailed, RevsError


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(home: Home = None, as_json: Json = False) -> None:
    """Check libraries, stores, key, disk and device; exit 1 when something is missing.

    Example: revs doctor
    """
    checks: dict[str, Callable[[], str]] = {
        "home": lambda: str(settings_of(home).home),
        "request store and key": lambda: _store(home),
        "registry": lambda: _registry(home),
        "disk": lambda: _disk(home),
        "libraries": _libraries,
        "device": _device,
    }
    results: list[dict[str, Any]] = []
    for name, check in checks.items():
        try:
            results.append({"check": name, "ok": True, "finding": check()})
        except (RevsError, ImportError, OSError) as error:
            results.append({"check": name, "ok": False, "finding": " ".join(str(error).split())})
    if as_json:
        emit(results)
    else:
        table("doctor", [{**result, "ok": "✓" if result["ok"] else "✗"} for result in results])
    if bad := [result["check"] for result in results if not result["ok"]]:
        raise OperationFailed(f"not in order: {', '.join(bad)}; see the findings above")


def _store(home: Any) -> str:
    from infra.requests import RequestStore
    from infra.vault import Vault

    settings = settings_of(home)
    waiting = RequestStore(settings.requests_url, Vault.from_settings(settings)).list(status="received")
    return f"{len(waiting)} requests wait"


def _registry(home: Any) -> str:
    from infra.registry import Registry

    settings = settings_of(home)
    names = Registry(settings.tracking_uri, settings.artifact_uri).names()
    return f"{len(names)} registered models: {', '.join(names) or 'none'}"


def _disk(home: Any) -> str:
    free = shutil.disk_usage(settings_of(home).home).free
    if free < 2**30:
        raise OperationFailed(f"{free / 2**30:.1f} GiB free; a candidate is a full copy of the model: free some space")
    return f"{free / 2**30:.0f} GiB free"


def _libraries() -> str:
    from importlib.metadata import version

    return ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "mlflow", "prefect", "datasets"))


def _device() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
