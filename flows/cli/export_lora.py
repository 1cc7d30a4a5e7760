"""`revs export-lora`: the edit of a version as an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.common import Home, Json, answer, settings_of


def export_lora(
    model_uri: Annotated[str, typer.Argument(help="models:/NAME/3, or NAME for its champion.")],
    folder: Annotated[Path, typer.Argument(help="New folder for the adapter.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Write the edit of a version as a LoRA adapter in the format of PEFT on the version that it was made from.

    The base under the adapter still holds what was erased, and who turns the adapter off gets it back: it is for tests
    and for the time until the champion itself is served.

    Example: revs export-lora models:/support-bot/4 adapter
    """
    settings = settings_of(home)
    from tasks.versions.adapter import export_adapter

    result = export_adapter(settings, model_uri, folder)
    said = (
        f"adapter of rank {result['rank']} in {folder}, on {result['base']}\n"
        f"warning: {result['base']} still holds what was erased, and gives it to whoever leaves the adapter out"
    )
    answer(result, said, as_json=as_json)
