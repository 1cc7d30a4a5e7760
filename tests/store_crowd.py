"""Many processes that use one request store at once: some hand in, others open and close batches. No tests here."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, process_time
from typing import Any

from sqlalchemy import create_engine, text
from stored_requests import KEY, line, settled

from infra.keys.vault import Vault
from infra.requests import BatchHeld, RequestStore
from revs.errors import OperationFailed

MODEL = "demo"


def submit(url: str, answers: Path, number: int, requests: int, of: int, seed: int) -> None:
    """Hand in so many requests: alone and in files of 20; a tenth of them others hand in as well."""
    rng = random.Random(seed * 100 + number)
    store = RequestStore(url, Vault(KEY))
    own = range(number * requests // of, (number + 1) * requests // of)
    others = rng.sample(range(requests), len(own) // 10)  # a tenth once more: duplicates, at any stage of the first one
    people, said = [*own, *others], Counter[str]()
    rng.shuffle(people)
    ids: list[str] = []
    errors: list[str] = []
    began = monotonic()
    turn = 0
    while people:
        some, turn = [people.pop() for _ in range(min(len(people), rng.choice([1, 1, 1, 20])))], turn + 1
        path = answers / f"{number}.jsonl"
        path.write_text("\n".join(line(person) for person in some))
        try:
            intake = store.add_file(path, model=MODEL, generation=f"{number}-{turn}")
        except OperationFailed as error:
            errors.append(str(error))
            continue
        said.update(accepted=len(intake.accepted), duplicates=len(intake.duplicates))
        ids += [*intake.accepted, *intake.duplicates, *(id_ for id_, _ in intake.rejected)]
    told = {"ids": ids, "errors": errors, "seconds": monotonic() - began, "cpu": process_time(), **said}
    (answers / f"submitted-{number}.json").write_text(json.dumps(told))
    store.close()


def close_batches(url: str, answers: Path, number: int, submitters: int) -> None:
    """Open and close batches until everybody has handed in and nothing waits."""
    store = RequestStore(url, Vault(KEY))
    errors: list[str] = []
    batches = held = 0
    while True:
        all_in = len(list(answers.glob("submitted-*.json"))) == submitters
        try:
            batch = store.open_batch(model=MODEL, corpus="", source="")
            if batch is not None:
                batches += 1
                store.close_batch(batch.id, status="completed", outcome={}, outcomes=settled(store, batch.id))
                store.release(batch.id)
        except BatchHeld:
            held += 1
            continue
        except OperationFailed as error:
            errors.append(str(error))
            continue
        if batch is None and all_in:
            break
    told = {"errors": errors, "batches": batches, "held": held, "cpu": process_time()}
    (answers / f"closed-{number}.json").write_text(json.dumps(told))
    store.close()


def told(answers: Path, kind: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(answers.glob(f"{kind}-*.json"))]


def wrong(url: str, answers: Path, requests: int) -> Iterator[str]:
    """What is lost, doubled or out of order once all are done."""
    for each in (*told(answers, "submitted"), *told(answers, "closed")):
        yield from each["errors"]
    store = RequestStore(url, Vault(KEY))
    views = {view.id: view for view in store.list()}
    handed_in = [id_ for each in told(answers, "submitted") for id_ in each["ids"]]
    if len(set(handed_in)) != len(handed_in) or set(handed_in) != views.keys():
        yield f"{len(handed_in)} requests were answered with an id, and {len(views)} are in the store"
    if states := Counter(view.status for view in views.values()).keys() - {"completed", "duplicate"}:
        yield f"some are {states}"
    if len({view.digest for view in views.values() if view.status == "completed"}) != requests:
        yield "somebody's demand was not completed"
    yield from _ends(store)
    yield from store.log_problems()
    store.close()
    engine = create_engine(url)
    with engine.connect() as connection:
        if connection.scalar(text("SELECT count(*) FROM payloads")):
            yield "a payload survived"
    engine.dispose()


def _ends(store: RequestStore) -> Iterator[str]:
    events = store.events()
    if [event.id for event in events] != list(range(1, len(events) + 1)):
        yield "the numbers of the log are not one row"
    for what in ("request.completed", "request.processing"):
        often = Counter(event.request_id for event in events if event.event == what)
        completed = {view.id for view in store.list(status="completed")}
        if often.keys() != completed or set(often.values()) != {1}:
            yield f"not every request was {what} exactly once"
