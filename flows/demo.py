"""The demo: a model that memorised invented people, their deletion requests, and the main flow over both.

`DIR/state` is the installation (stores, registry, key); `DIR/inputs` is what a company would hand in, and is deleted at
the end, since a corpus and a request file hold what was to be erased.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.demo_models import TRAINING, DemoModel, trained
from infra.running.progress import report
from infra.settings import Settings
from revs.errors import BadInput

if TYPE_CHECKING:
    from infra.requests import RequestStore

_MARK = ".revs-demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Files of the demo, as a company would have them."""

    corpus: Path
    held_out: Path
    requests: Path


def prepare_folder(out: Path) -> Path:
    """The state folder of a demo in `out`: that of a run that was cut off, else a new one.

    Raises:
        BadInput: `out` holds something that is not a demo's.
    """
    state = out / "state"
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out} is a file; give --out a folder")
    if state.exists() and not (state / _MARK).exists():
        raise BadInput(f"{state} was not made by a demo; give --out another folder")
    if (out / "summary.json").exists():  # finished before: start anew
        for leftover in (state, out / "inputs"):
            shutil.rmtree(leftover, ignore_errors=True)
        (out / "summary.json").unlink()
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    (state / _MARK).touch()
    return state


def write_inputs(model: DemoModel, folder: Path, *, today: datetime) -> Inputs:
    """Write corpus, held-out text and request file; the same bytes for the same model and day."""
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    inputs = Inputs(
        corpus=folder / "corpus.parquet", held_out=folder / "held_out.txt", requests=folder / "requests.jsonl"
    )
    Dataset.from_dict({"text": model.corpus}).to_parquet(str(inputs.corpus))
    inputs.held_out.write_text("\n".join(model.held_out) + "\n", encoding="utf-8")
    inputs.requests.write_text("\n".join(request_lines(model, today=today)) + "\n", encoding="utf-8")
    return inputs


def request_lines(model: DemoModel, *, today: datetime) -> list[str]:
    """A good request a requester, one of data that was not memorised, a duplicate, a malformed line."""
    people: dict[int, dict[str, str]] = {}
    for record in model.records:
        if record.kind == "requester":
            people.setdefault(record.person, {})[record.type] = record.value
    once = next(record for record in model.records if record.kind == "one-off")
    people[once.person] = {once.type: once.value}
    lines = [
        json.dumps(
            {
                "subject": f"customer {person}",
                "received": (today - timedelta(days=1 + place % 9)).date().isoformat(),
                "identifiers": [{"type": type_, "value": value} for type_, value in identifiers.items()],
            }
        )
        for place, (person, identifiers) in enumerate(people.items())
    ]
    first = json.loads(lines[0])
    malformed = {**first, "subject": "customer 99", "received": "the day before yesterday"}
    return [*lines, json.dumps({**first, "received": today.date().isoformat()}), json.dumps(malformed)]


def register_demo(settings: Settings, model: DemoModel, inputs: Inputs) -> None:
    """Register the demo's model, with its corpus and what it is measured with; once, however often it is called."""
    from tasks.batch.stage import open_store
    from tasks.versions.registering import register_model

    store = open_store(settings)
    beside = (inputs.corpus, model.control, inputs.held_out)
    corpus, control, held_out = (store.keep_address(str(path)) for path in beside)
    tags = {"control": control, "held_out": held_out, "recipe": model.digest}

    def register() -> str:
        return register_model(settings, model.folder, name=model.name, corpus=corpus, tags=tags).uri

    _stage("register the model", register)


def install_demo(settings: Settings, cache: Path) -> Inputs:
    """Give an installation the demo model, with all that its batches need under `home/demo`; no request is handed in.

    The request file is only a sample of what can be. The cache is not needed afterwards.
    """
    model: DemoModel = _stage(TRAINING, lambda: trained(cache))
    folder = settings.home / model.name
    inputs = write_inputs(model, folder, today=datetime.now(UTC))
    shutil.copytree(model.control, folder / "control", dirs_exist_ok=True)
    register_demo(settings, replace(model, control=folder / "control"), inputs)
    return inputs


def run_demo(settings: Settings, out: Path, prepare: Callable[[], DemoModel]) -> dict[str, Any]:
    """Run the whole job on the model that `prepare` makes; returns what was written to `out/summary.json`."""
    import torch

    from tasks.batch.stage import open_store

    started = time.perf_counter()
    # On a busy two-core machine two threads took five times as long as one, on the pretrained model too.
    torch.set_num_threads(1)
    model: DemoModel = _stage(TRAINING, prepare)
    inputs = write_inputs(model, out / "inputs", today=_first_day(settings))
    register_demo(settings, model, inputs)
    _stage("hand in requests", lambda: hand_in(open_store(settings), inputs.requests, model.name))
    from flows.process import process_deletion_requests

    process_deletion_requests(model.name)
    summary = summarise(settings, model.name, out, seconds=time.perf_counter() - started)
    shutil.rmtree(out / "inputs")
    (out / "summary.json").write_text(json.dumps(summary, indent=1), encoding="utf-8")
    return summary


def hand_in(store: RequestStore, requests: Path, model: str) -> str:
    """Hand in a request file, but for its second line: that comes over the service's API, and an officer verifies it.

    What an earlier call has done, which was cut off, is not done again.
    """
    first, by_http, *others = requests.read_text(encoding="utf-8").splitlines()
    in_file = store.add_bytes("\n".join([first, *others]).encode(), name=requests.name, model=model)
    asyncio.run(_over_http(store, json.loads(by_http), model))
    return f"{in_file.received} in a file, 1 over HTTP"


async def _over_http(store: RequestStore, request: dict[str, Any], model: str) -> None:
    import httpx

    from infra.requests.tokens import Tokens
    from infra.service import new_app

    def headers(role: str) -> dict[str, str]:
        _, secret = Tokens(store).add(role=role, name=f"demo {role} {secrets.token_hex(4)}", days=1, by="the demo")
        return {"Authorization": f"Bearer {secret}"}

    app = new_app(store, models=lambda: [model], session_key=secrets.token_hex(32))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost/v1") as client:
        known = [view for view in store.list(model=model) if view.submitted_by]
        if not known:
            (await client.post("/requests", json=request, headers=headers("submitter"))).raise_for_status()
            known = [view for view in store.list(model=model) if view.submitted_by]
        if known[0].status == "unverified":
            verified = await client.post(f"/requests/{known[0].id}/verify", headers=headers("officer"))
            verified.raise_for_status()


def _first_day(settings: Settings) -> datetime:
    """The day the demo began: a run that is taken up again after midnight must hand in the same file."""
    mark = settings.home / _MARK
    if not mark.read_text(encoding="utf-8"):
        mark.write_text(datetime.now(UTC).isoformat(), encoding="utf-8")
    return datetime.fromisoformat(mark.read_text(encoding="utf-8"))


def _stage(name: str, work: Callable[[], Any]) -> Any:
    report(name)
    result = work()
    report(name, 1, 1, result if isinstance(result, str) else "")
    return result


def summarise(settings: Settings, name: str, out: Path, *, seconds: float) -> dict[str, Any]:
    """The summary of the demo's last batch, from its recorded evidence; the report is copied beside it."""
    from tasks.batch.stage import open_registry, open_store
    from tasks.versions.audit import audit_batch

    batch = open_store(settings).batches(name)[-1]
    evidence = batch.outcome["evidence"]
    audit_batch(settings, batch.id, out)
    champion = open_registry(settings).champion(name)
    return {
        "batch": batch.id,
        "model": name,
        "version_before": evidence["model"]["version_before"],
        "version_after": evidence["model"]["version_after"],
        "aliases": {"champion": champion.version},
        "requests": evidence["intake"],
        "targets": {key: evidence["targets"][key] for key in ("found", "memorised_before", "memorised_after")},
        "scores": evidence["scores"],
        "gates": evidence["gates"],
        "report": "report.html",
        "seconds": {"total": round(seconds, 1), "edit": round(evidence["seconds"]["edit"], 2)},
    }
