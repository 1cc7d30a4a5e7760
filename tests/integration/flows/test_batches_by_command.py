"""`revs batches` and the door of `revs requests add`: what they say, what they refuse, how they end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from command_line import Revs, in_process
from stored_requests import BECAUSE

from infra.batches.records import Detections
from infra.batches.workspace import Workspace
from infra.keys.vault import Vault
from infra.registry import ModelVersion
from infra.requests import IdentifierOutcome, RequestStore
from infra.settings import Settings, load_settings

IDENTIFIERS = [{"type": "US_SSN", "value": "219-41-0001"}]
GOOD = {"subject": "customer 1", "received": "2026-11-02", "identifiers": IDENTIFIERS}
BAD = GOOD | {"received": "Zorblatt"}
DETECTED = Detections(seen=(), proposed=())
HOLDER = """
import sys
from infra.requests import RequestStore
from infra.settings import load_settings
from infra.keys.vault import Vault
settings = load_settings()
store = RequestStore(settings.requests_url, Vault.from_settings(settings))
print(store.open_batch(model="demo", corpus="", source="").id, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("REVS_HOME", str(tmp_path / "home"))
    return load_settings()


@pytest.fixture
def store(settings: Settings) -> RequestStore:
    return RequestStore(settings.requests_url, Vault.from_settings(settings))


@pytest.fixture
def revs(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Revs:
    return in_process(monkeypatch, capsys, "219-41", "Zorblatt")


def opened(store: RequestStore) -> tuple[str, str]:
    """A batch of one request, as a run that was cut off leaves it."""
    store.add(GOOD, model="demo")
    batch = store.open_batch(model="demo", corpus="corpus/", source="models:/demo/1")
    assert batch is not None
    store.hold(batch.id).release()
    return batch.id, batch.request_ids[0]


# ---- list and show


def test_a_batch_is_listed_with_its_state_and_who_works_on_it(revs: Revs, store: RequestStore) -> None:
    batch_id, _ = opened(store)
    (row,) = json.loads(revs("batches", "list", "--json").out)
    assert row.pop("opened").startswith("20")
    assert row == {"id": batch_id, "model": "demo", "status": "open", "parent": None, "requests": 1, "holder": None}
    store.hold(batch_id)
    (row,) = json.loads(revs("batches", "list", "--model", "demo", "--status", "open", "--json").out)
    assert row["holder"].startswith("process ")
    assert json.loads(revs("batches", "list", "--status", "waiting", "--json").out) == []
    assert batch_id in revs("batches", "list").out


def test_a_batch_is_shown_with_its_requests_outcomes_stages_and_what_it_owes(
    revs: Revs, store: RequestStore, settings: Settings
) -> None:
    batch_id, request_id = opened(store)
    workspace = Workspace(settings.work_dir, batch_id)
    workspace.write(DETECTED)
    for shard in ("shard-000000", "shard-000001"):
        (workspace.folder / f"{shard}.json").write_text("{}")
    missing = IdentifierOutcome(
        request_id=request_id, number=0, type="US_SSN", kind="not_found", detail={"rows": 9, "unread": ""}
    )
    store.close_batch(batch_id, status="completed", outcome={}, outcomes=[missing])
    store.record("report.owed", batch_id=batch_id, detail={"reason": "the record and the evidence differ"})
    shown = json.loads(revs("batches", "show", batch_id, "--json").out)
    assert shown["stages"] == ["detections", "2 shards searched"]
    assert shown["report owed"] == "the record and the evidence differ"
    assert [(row["id"], row["status"]) for row in shown["requests"]] == [(request_id, "failed")]
    assert [row["kind"] for row in shown["outcomes"]] == ["not_found"]
    text = revs("batches", "show", batch_id).out
    assert all(part in text for part in (batch_id, request_id, "not_found", "detections", "differ"))
    for answer in (text, revs("requests", "show", request_id).out):
        assert "not found in 9 rows" in answer.partition("identifiers")[2], "what became of it, and why"


def split(store: RequestStore) -> tuple[str, list[str]]:
    """A batch of two requests that was split into one half each, as a run that was cut off there leaves it."""
    ids = [store.add(GOOD | {"subject": f"customer {number}"}, model="demo").accepted[0] for number in (1, 2)]
    batch = store.open_batch(model="demo", corpus="corpus/", source="models:/demo/1")
    assert batch is not None
    store.close_batch(batch.id, status="split", outcome={}, again=[ids[:1], ids[1:]])
    store.hold(batch.id).release()
    return batch.id, ids


def test_a_batch_that_was_split_and_its_halves_name_one_another(revs: Revs, store: RequestStore) -> None:
    batch_id, (first, second) = split(store)
    shown = json.loads(revs("batches", "show", batch_id, "--json").out)
    assert (shown["status"], shown["parent"], shown["halves"]) == ("split", None, [])
    assert [(row["id"], row["status"], row["lot"]) for row in shown["requests"]] == [
        (first, "received", f"{batch_id}.1"), (second, "received", f"{batch_id}.2"),
    ]  # fmt: skip
    half = store.open_batch(model="demo", corpus="corpus/", source="models:/demo/1")
    assert half is not None
    assert json.loads(revs("batches", "show", batch_id, "--json").out)["halves"] == [half.id]
    rows = json.loads(revs("batches", "list", "--json").out)
    assert [(row["id"], row["parent"]) for row in rows] == [(batch_id, None), (half.id, batch_id)]
    assert [row["id"] for row in json.loads(revs("batches", "list", "--status", "split", "--json").out)] == [batch_id]
    assert half.id in revs("batches", "show", batch_id).out and batch_id in revs("batches", "show", half.id).out


def test_a_split_batch_is_resumed_as_long_as_its_halves_wait_and_is_not_given_up(
    revs: Revs, store: RequestStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    import flows.process

    batch_id, ids = split(store)
    asked: list[str] = []
    monkeypatch.setattr(flows.process, "process_deletion_requests", asked.append)
    answer = revs("batches", "abandon", batch_id, "--yes")
    assert answer.code == 2 and "is split; only one that is open or waiting" in answer.err
    assert "REVS_BATCH_HALVING=0" in answer.err
    assert revs("batches", "resume", batch_id).code == 0 and asked == ["demo"]
    for id_ in ids:
        store.withdraw(id_, by="Bo")
    answer = revs("batches", "resume", batch_id)
    assert answer.code == 2 and f"batch {batch_id} is split" in answer.err and asked == ["demo"]


# ---- abandon and resume


@pytest.mark.parametrize("fate", ["received", "failed"])
def test_a_batch_is_given_up_and_its_requests_stay(
    revs: Revs, store: RequestStore, settings: Settings, fate: str
) -> None:
    batch_id, request_id = opened(store)
    workspace = Workspace(settings.work_dir, batch_id)
    workspace.write(DETECTED)
    answer = revs("batches", "abandon", batch_id, "--requests", fate, "--reason", "the disk died", "--yes", "--json")
    assert (answer.code, json.loads(answer.out)["status"]) == (0, "abandoned")
    assert store.get(request_id).status == fate
    assert not workspace.folder.exists()
    assert store.batch(batch_id).outcome["reason"] == "the disk died"
    if fate == "failed":
        store.retry(request_id)
    assert store.open_batch(model="demo", corpus="", source="") is not None, "nothing stands in the way of the next"


@pytest.mark.parametrize("fate", ["received", "failed"])
def test_a_batch_that_waits_for_a_decision_can_be_declined(revs: Revs, store: RequestStore, fate: str) -> None:
    batch_id, request_id = opened(store)
    store.close_batch(batch_id, status="waiting", outcome={"evidence": {"schema": "x"}})
    assert revs("batches", "abandon", batch_id, "--requests", fate, "--yes").code == 0
    assert store.batch(batch_id).status == "abandoned"
    assert store.batch(batch_id).outcome["evidence"] == {"schema": "x"}
    assert store.get(request_id).status == fate


def test_a_batch_that_a_run_works_on_is_given_up_by_force_only(
    revs: Revs, store: RequestStore, settings: Settings
) -> None:
    store.add(GOOD, model="demo")
    run = subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    batch_id = run.stdout.readline().strip()
    Workspace(settings.work_dir, batch_id).write(DETECTED)
    answer = revs("batches", "abandon", batch_id, "--yes")
    assert answer.code == 1 and f"process {run.pid}" in answer.err and "--force" in answer.err
    assert Workspace(settings.work_dir, batch_id).stages() == ["detections"]
    assert store.batch(batch_id).status == "open"
    assert revs("batches", "abandon", batch_id, "--yes", "--force").code == 0
    assert store.batch(batch_id).status == "abandoned"
    run.communicate("\n")


REFUSED = [
    (("batches", "show", "B-nothing"), "there is no batch B-nothing"),
    (("batches", "resume", "B-nothing"), "there is no batch B-nothing"),
    (("batches", "abandon", "B-nothing", "--yes"), "there is no batch B-nothing"),
    (("batches", "list", "--status", "lost"), "choose one of open, completed"),
    (("batches", "abandon", "OPEN"), "add --yes"),
    (("batches", "abandon", "OPEN", "--requests", "lost", "--yes"), "choose received or failed"),
]


@pytest.mark.parametrize(("words", "said"), REFUSED, ids=[" ".join(row[0]) for row in REFUSED])
def test_what_cannot_be_done_is_said_in_one_line_with_the_remedy(
    revs: Revs, store: RequestStore, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    batch_id, _ = opened(store)
    answer = revs(*(batch_id if word == "OPEN" else word for word in words))
    assert answer.code == 2 and said in answer.err
    assert store.batch(batch_id).status == "open"


@pytest.mark.parametrize("command", ["resume", "abandon"])
def test_a_batch_that_has_ended_is_neither_resumed_nor_given_up(revs: Revs, store: RequestStore, command: str) -> None:
    batch_id, _ = opened(store)
    store.close_batch(batch_id, status="refused", outcome={})
    answer = revs("batches", command, batch_id)
    assert answer.code == 2 and f"batch {batch_id} is refused" in answer.err


def test_an_open_batch_is_resumed_by_the_flow_of_its_model(
    revs: Revs, store: RequestStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    import flows.process

    batch_id, _ = opened(store)
    asked: list[str] = []

    def flow(model: str) -> flows.process.Processed:
        asked.append(model)
        return flows.process.Processed(
            batch_id=batch_id, status="completed", completed=1, handed_on=0, report="report.html"
        )

    monkeypatch.setattr(flows.process, "process_deletion_requests", flow)
    assert json.loads(revs("batches", "resume", batch_id, "--json").out)["status"] == "completed"
    assert asked == ["demo"]


def test_each_batch_of_a_run_is_told_on_a_line(
    revs: Revs, store: RequestStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    import flows.process
    from tasks.batch.results import Reported

    batch_id, _ = opened(store)
    ends = {batch_id: "split", "B-2": "completed", "B-3": "completed"}
    batches = tuple(
        Reported(batch_id=id_, status=status, completed=1, handed_on=0, report=f"{id_}.html")
        for id_, status in ends.items()
    )
    done = flows.process.Processed(
        batch_id=batch_id, status="split", completed=2, handed_on=0, report=f"{batch_id}.html", batches=batches
    )
    monkeypatch.setattr(flows.process, "process_deletion_requests", lambda _: done)
    said = revs("batches", "resume", batch_id).out.splitlines()
    assert said == [f"batch {id_} {status}; report: {id_}.html" for id_, status in ends.items()]
    told = json.loads(revs("batches", "resume", batch_id, "--json").out)
    assert [(each["batch_id"], each["status"]) for each in told["batches"]] == [*ends.items()]
    assert (told["batch_id"], told["status"], told["completed"], told["handed_on"]) == (batch_id, "split", 2, 0)


# ---- the door


def file_of(folder: Path, *requests: dict[str, Any]) -> Path:
    path = folder / "r.jsonl"
    path.write_text("\n".join(json.dumps(request) for request in requests))
    return path


@pytest.fixture
def registered(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A registry in which "demo" and "support bot" were registered, and by name the number of the trained version."""
    import infra.registry

    trained = {"demo": "1", "support bot": "4"}

    def version(name: str, number: int, tags: dict[str, str]) -> ModelVersion:
        return ModelVersion(
            name=name, version=str(number), uri=f"models:/{name}/{number}", run_id="", source="", tags=tags
        )

    registry = SimpleNamespace(
        names=lambda: sorted(trained),
        champion=lambda name: version(name, int(trained[name]) + 1, {"revs.parent": trained[name]}),
        resolve=lambda uri: version(uri.split("/")[1], int(uri.rpartition("/")[2]), {}),
    )
    (settings.home / "mlflow.db").touch()
    monkeypatch.setattr(infra.registry, "open_registry", lambda _: registry)
    return trained


ENDS = [
    ([GOOD], 0, "accepted"),
    ([BAD], 2, "nothing accepted"),
    ([GOOD, BAD], 0, "one of two accepted"),
    ([GOOD, GOOD], 0, "a duplicate"),
]


@pytest.mark.parametrize(("requests", "code"), [row[:2] for row in ENDS], ids=[row[2] for row in ENDS])
@pytest.mark.parametrize("as_json", [True, False])
def test_handing_in_ends_with_2_where_nothing_came_in(
    revs: Revs, store: RequestStore, tmp_path: Path, requests: list[Any], code: int, as_json: bool
) -> None:
    answer = revs("requests", "add", file_of(tmp_path, *requests), *(["--json"] if as_json else []))
    assert answer.code == code
    for view in store.list(status="rejected"):
        assert f"{view.id}, line {len(requests)}: received" in answer.out, "named by id and line"
    assert not as_json or json.loads(answer.out)["received"] == len(requests)


def test_a_file_of_duplicates_only_came_in(revs: Revs, tmp_path: Path) -> None:
    assert revs("requests", "add", file_of(tmp_path, GOOD)).code == 0
    assert revs("requests", "add", file_of(tmp_path, GOOD | {"due": "2026-11-30"})).code == 0


MODELS = [
    ("demo", 0, ""),
    ("support bot", 0, ""),
    ("support-bot", 2, "model 'support-bot' is not registered; name one of these with --model: demo, support bot"),
    ("my model/7", 2, "model 'my model/7' is not registered"),
]


@pytest.mark.parametrize(("model", "code", "said"), MODELS)
def test_a_model_that_is_not_registered_is_refused_at_the_door(
    revs: Revs, store: RequestStore, registered: Any, tmp_path: Path, model: str, code: int, said: str
) -> None:
    answer = revs("requests", "add", file_of(tmp_path, GOOD), "--model", model)
    assert answer.code == code and said in answer.err
    assert len(store.list()) == (1 if code == 0 else 0)


def test_a_request_that_names_a_model_that_is_not_registered_is_set_aside(
    revs: Revs, store: RequestStore, registered: Any, tmp_path: Path
) -> None:
    assert revs("requests", "add", file_of(tmp_path, GOOD, GOOD | {"model": "support-bot"})).code == 0
    (rejected,) = store.list(status="rejected")
    assert "name one of these: demo, support bot" in str(rejected.reason)


def test_where_no_model_is_registered_yet_requests_wait_for_it(revs: Revs, store: RequestStore, tmp_path: Path) -> None:
    answer = revs("requests", "add", file_of(tmp_path, GOOD), "--model", "support-bot")
    assert answer.code == 0 and "wait until 'support-bot' is" in answer.out
    assert store.list()[0].model == "support-bot"


def test_the_same_file_is_a_new_demand_once_the_model_was_trained_again(
    revs: Revs, store: RequestStore, registered: dict[str, str], tmp_path: Path
) -> None:
    def add(*how: str) -> int:
        assert revs("requests", "add", file_of(tmp_path, GOOD), *how).code == 0
        return len(store.list())

    assert (add(), add()) == (1, 1)
    batch = store.open_batch(model="demo", corpus="", source="")
    assert batch is not None
    done = IdentifierOutcome(request_id=batch.request_ids[0], number=0, type="US_SSN", kind="edited")
    store.close_batch(batch.id, status="completed", outcome={}, outcomes=[done])
    assert add() == 1, "it was done, of this model"
    registered["demo"] = "3"
    assert add() == 2
    assert add("--again") == 3


def test_one_request_that_cannot_be_retried_does_not_keep_the_others_back(revs: Revs, store: RequestStore) -> None:
    _, failed = opened(store)
    store.fail(failed, BECAUSE)
    (rejected,) = (id_ for id_, _ in store.add(BAD, model="demo").rejected)
    answer = revs("requests", "retry", rejected, failed)
    assert answer.code == 2 and f"request {rejected} is rejected" in answer.err
    assert store.get(failed).status == "received"
