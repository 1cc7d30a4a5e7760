"""A batch that breaks the gates is halved until the one request that breaks them is alone: a human gets that one.

On a tiny model that was trained to say something of eight people, four of whom ask. Planted is what breaks: whatever
edit is to erase the number of one of them, BREAKS, ends with noise in all weights, so that the one gate of these tests,
perplexity, refuses it. Everything else is the real flow, with one setting of the edit.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import Cli, champion_of, requests_of, written
from taught_people import SAID, json_lines, requests_for, write_inputs

if TYPE_CHECKING:
    from infra.settings import Settings

BREAKS = "287-31-6604"
NOWHERE = {"219-41-0001": "US_SSN"}


class Killed(BaseException):
    """As sudden as SIGKILL: nothing in the program catches it."""


@pytest.fixture
def own(
    cli: Cli,
    taught: Path,
    people: Any,
    ordinary: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fixed_ranks: None,
) -> list[str | Path]:
    """The `process` command line; a request of each, due in this order, and one of a number that stands nowhere."""
    import flows.process
    from infra.gates.policy import Gate, GatePolicy
    from tasks.stages.edit import strengths

    gates = (Gate(metric="perplexity_ratio", high=1.5),)
    monkeypatch.setattr(GatePolicy, "RANKS", GatePolicy(gates=gates))
    monkeypatch.setattr(flows.process, "strengths", lambda method: strengths(method)[:1])
    files = write_inputs(tmp_path, people, ordinary, json_lines(requests_for(SAID | NOWHERE)))
    return [
        "process", "--model", taught, "--name", "own", "--corpus", files["corpus"], "--held-out", files["held-out"],
        "--requests", files["requests"],
    ]  # fmt: skip


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """Plants what breaks; the numbers of each edit, in their order."""
    import torch

    import revs

    edits: list[set[str]] = []

    def spoiled(model: Any, tokenizer: Any, targets: Any, **options: Any) -> Any:
        patch = erase(model, tokenizer, targets, **options)
        edits.append({target.secret.strip() for target in targets})
        if BREAKS in edits[-1]:
            generator = torch.Generator().manual_seed(0)
            with torch.no_grad():
                for weight in model.parameters():
                    weight.add_(weight.std() * torch.randn(weight.shape, generator=generator) if weight.ndim > 1 else 0)
        return patch

    erase = revs.erase
    monkeypatch.setattr(revs, "erase", spoiled)
    return edits


def said_by_champion(settings: Settings, people: Any) -> set[str]:
    """What the model that serves still says of those who ask."""
    import revs
    from tasks.batch.stage import open_registry

    registry = open_registry(settings)
    folder = registry.checkout(registry.champion("own"), settings.home / "looked-at")
    model, tokenizer = revs.load(folder, dtype="float32", device="cpu")
    asked = [person for person in people if person.secret.strip() in SAID]
    flags = revs.evaluate(model, tokenizer, asked).extracted
    return {person.secret.strip() for person, flag in zip(asked, flags, strict=True) if flag}


def test_the_one_that_breaks_the_gates_goes_to_a_human_and_the_others_are_done_though_runs_are_killed(
    cli: Cli,
    settings: Settings,
    own: list[str | Path],
    breaking: list[set[str]],
    people: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed once between the split and its first half, and once in that half; the third run goes on to the end."""
    import flows.process
    from tasks.batch.stage import open_store

    first, breaks, third, fourth = SAID
    (nowhere,) = NOWHERE
    open_batch = flows.process.open_batch

    def killed_at_the_second(*arguments: Any) -> Any:
        if open_store(settings).batches():
            raise Killed
        return open_batch(*arguments)

    def killed(*_: Any) -> None:
        raise Killed

    def run_into(name: str, work: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(flows.process, name, work)
            with pytest.raises(Killed):
                cli(*own)

    run_into("open_batch", killed_at_the_second)
    store = open_store(settings)
    (whole,) = store.batches()
    ids = dict(zip((*SAID, nowhere), whole.request_ids, strict=True))
    assert whole.status == "split" and breaking == [{*SAID}]
    assert {status: len(views) for status, views in requests_of(settings).items()} == {"received": 4, "failed": 1}
    assert "not found" in str(store.get(ids[nowhere]).reason), "what hangs on no edit has ended"
    assert champion_of(settings, "own") == "1"

    run_into("close_batch", killed)
    (_, half) = store.batches()
    assert (half.status, half.parent, half.request_ids) == ("open", whole.id, (ids[first], ids[breaks]))

    answer = cli("process", "--model", "own")
    assert breaking == [{*SAID}, {first, breaks}, {third, fourth}, {first}, {breaks}], "nothing is edited twice"
    batches = store.batches()
    assert [batch.status for batch in batches] == ["split", "split", "completed", "completed", "refused"]
    assert [batch.parent for batch in batches] == [None, whole.id, whole.id, half.id, half.id]
    ended = {number: store.get(id_).status for number, id_ in ids.items()}
    assert ended == dict.fromkeys((first, third, fourth), "completed") | dict.fromkeys((breaks, nowhere), "failed")
    assert answer.code == 3 and (
        f"4 batches, 3 requests completed, 1 handed to a human: batch {batches[-1].id} was refused by perplexity_ratio"
        in answer.err
    )

    alone = batches[-1]
    evidence = alone.outcome["evidence"]
    assert alone.request_ids == (ids[breaks],) and evidence["batch"]["parent"] == half.id
    assert [gate["passed"] for gate in evidence["gates"]] == [False]
    assert "perplexity_ratio" in str(store.get(ids[breaks]).reason)
    assert whole.outcome["evidence"]["batch"]["lots"] == [[ids[first], ids[breaks]], [ids[third], ids[fourth]]]

    assert champion_of(settings, "own") == "3", "each half that passed made the champion from the one before"
    assert said_by_champion(settings, people) == {breaks}
    once = Counter(event.request_id for event in store.events() if event.event == "request.completed")
    assert once == Counter(ids[number] for number in (first, third, fourth))
    assert store.log_problems() == [] and not list(settings.work_dir.iterdir())
    reports = {batch.id: (settings.home / "reports" / batch.id / "report.html").read_text() for batch in batches}
    assert "The record contradicts itself" not in "".join(reports.values())
    assert "Refused, goes on in halves" in reports[whole.id] and f"one half of batch {whole.id}" in reports[half.id]
    assert json.loads(cli("process", "--model", "own", "--json").out)["status"] == "nothing to do"


@pytest.mark.long
def test_where_every_edit_is_refused_halving_ends_at_its_bound(
    cli: Cli, settings: Settings, own: list[str | Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a gate that no edit could ever pass: every request ends with a human, none is tried for ever."""
    from infra.gates.policy import Gate, GatePolicy
    from tasks.batch.stage import open_store

    monkeypatch.setattr(GatePolicy, "RANKS", GatePolicy(gates=(Gate(metric="perplexity_ratio", high=0.001),)))
    monkeypatch.setenv("REVS_BATCH_HALVING", "1")
    answer = cli(*own)
    assert answer.code == 3 and "3 batches, 0 requests completed, 5 handed to a human" in answer.err
    batches = open_store(settings).batches()
    assert [(batch.status, len(batch.request_ids)) for batch in batches] == [
        ("split", 5),
        ("refused", 2),
        ("refused", 2),
    ]
    assert len(requests_of(settings)["failed"]) == 5 and champion_of(settings, "own") == "1"


@pytest.mark.long
def test_a_run_goes_on_with_what_a_batch_may_not_take(
    cli: Cli, settings: Settings, own: list[str | Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.batch.stage import open_store

    monkeypatch.setenv("REVS_BATCH_REQUESTS", "2")
    requests = Path(own[-1])
    written(requests, "\n".join(requests.read_text().splitlines()[:4]))
    answer = cli(*own, "--json")
    assert answer.code == 0, answer.err
    done = json.loads(answer.out)
    first, second = open_store(settings).batches()
    assert [len(first.request_ids), len(second.request_ids)] == [2, 2]
    assert (done["batch_id"], done["status"], done["completed"], done["handed_on"]) == (first.id, "completed", 4, 0)
    assert [(each["batch_id"], each["completed"], each["parent"]) for each in done["batches"]] == [
        (first.id, 2, None), (second.id, 2, None),
    ]  # fmt: skip
    assert champion_of(settings, "own") == "3"
