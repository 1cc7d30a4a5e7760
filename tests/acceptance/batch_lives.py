"""A run of one batch in a process of its own, that may kill itself at any point of it; no tests here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from store_lives import Points

from infra.gates.policy import Gate, GatePolicy

POLICY = GatePolicy(gates=(Gate(metric="perplexity_ratio", high=10),))  # what the tiny model passes


def live_until(environment: Mapping[str, str], last: int, stages: tuple[str, ...], diary: Path) -> None:
    """Process what waits for the model "own"; SIGKILL this process at the point numbered `last`.

    Points are before and after each commit, of the request store and of MLflow, around each change of a layer in the
    edit and around each file that is copied. The file `diary` gets a line for each: the stage in which it was passed.
    """
    os.environ.update(environment)
    import flows.process
    import revs.edit.sweep
    from infra.running.prefect_settings import prepare
    from infra.settings import load_settings

    prepare(load_settings())
    GatePolicy.DEFAULT = POLICY
    points = Points(last)
    with diary.open("w", encoding="utf-8") as file:

        def noted(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
            def run(*arguments: Any) -> Any:
                before = points.passed
                done = work(*arguments)
                file.write(f"{name}\n" * (points.passed - before))
                return done

            return run

        for name in stages:
            setattr(flows.process, name, noted(name, getattr(flows.process, name).fn))
        revs.edit.sweep.joint_update = points.around(revs.edit.sweep.joint_update)
        shutil.copyfile = points.around(shutil.copyfile)
        flows.process.process_deletion_requests.fn("own")
