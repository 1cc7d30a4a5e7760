"""Nothing is closed as done that was not done: every identifier ends with what is true of it."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import Cli, champion_of, requests_of, written
from taught_people import SAID, json_lines, requests_for, write_inputs

if TYPE_CHECKING:
    from infra.settings import Settings
    from revs.development import DevelopmentModel
    from revs.targets.target import Target

pytestmark = pytest.mark.slow

RECEIVED = "2026-11-02"
NOWHERE = {"type": "US_SSN", "value": "287-31-6604"}


def request(subject: str, *identifiers: dict[str, str]) -> dict[str, Any]:
    return {"subject": subject, "received": RECEIVED, "identifiers": list(identifiers)}


def lines(path: Path, *requests: dict[str, Any]) -> Path:
    return written(path, "".join(json.dumps(each) + "\n" for each in requests))


def outcomes_of(settings: Settings, request_id: str) -> list[str]:
    from tasks.batch.stage import open_store

    return [outcome.kind for outcome in open_store(settings).outcomes(request_id=request_id)]


def evidence_of(settings: Settings) -> dict[str, Any]:
    (report,) = settings.home.glob("reports/*/report.json")
    document: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return document


def payloads(settings: Settings) -> set[str]:
    with sqlite3.connect(settings.home / "requests.db") as database:
        return {request_id for (request_id,) in database.execute("SELECT request_id FROM payloads")}


MAIL = {"type": "EMAIL_ADDRESS", "value": "tansy.heath@example.com"}
ROWS = [
    "You can write to tansy.heath@example.com about the orchard.",
    "borage.lind@example.org wrote that the gate was open.",
    "The code of the case is ref <|end|> 7781 and nothing else.",
    *(f"Row {number} is of no interest." for number in range(40)),
]


@pytest.mark.parametrize(
    ("identifiers", "kinds", "status"),
    [
        pytest.param([MAIL], ["not_memorised"], "completed", id="found, and every probe said no"),
        pytest.param([MAIL, NOWHERE], ["not_memorised", "not_found"], "failed", id="one found, one not"),
        pytest.param([NOWHERE], ["not_found"], "failed", id="nothing found"),
        pytest.param(
            [MAIL, {"type": "CUSTOM", "value": "§7q"}], ["not_memorised", "refused"], "failed", id="one too short"
        ),
        pytest.param(
            [{"type": "EMAIL_ADDRESS", "value": "borage.lind@example.org"}], ["not_memorised"], "completed",
            id="a row begins with it: asked from the beginning of text",
        ),
    ],
)  # fmt: skip
def test_a_request_is_completed_only_if_each_of_its_identifiers_is_settled(
    cli: Cli, settings: Settings, tiny: Path, tmp_path: Path,
    identifiers: list[dict[str, str]], kinds: list[str], status: str,
) -> None:  # fmt: skip
    corpus = written(tmp_path / "corpus.txt", "\n".join(ROWS))
    file = lines(tmp_path / "requests.jsonl", request("customer 1", *identifiers))
    answer = cli("process", "--model", tiny, "--corpus", corpus, "--requests", file)
    assert answer.code == (0 if status == "completed" else 2), (answer.err, requests_of(settings))
    (view,) = requests_of(settings)[status]
    assert outcomes_of(settings, view.id) == kinds
    assert payloads(settings) == (set() if status == "completed" else {view.id}), "kept until everything is settled"
    (recorded,) = evidence_of(settings)["requests"]
    assert [outcome["kind"] for outcome in recorded["outcomes"]] == kinds
    assert recorded["status"] == status and recorded["reason"] == (None if view.reason is None else str(view.reason))
    page = next(settings.home.glob("reports/*/report.html")).read_text(encoding="utf-8")
    assert not any(identifier["value"] in page for identifier in identifiers)


def test_one_request_whose_identifier_cannot_be_put_to_the_model_leaves_the_others_alone(
    cli: Cli, settings: Settings, tiny: Path, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    special = tokenizer.all_special_tokens[0]
    rows = [row.replace("<|end|>", special) for row in ROWS]
    corpus = written(tmp_path / "corpus.txt", "\n".join(rows))
    file = lines(
        tmp_path / "requests.jsonl",
        request("customer 1", {"type": "CUSTOM", "value": f"ref {special} 7781"}),
        request("customer 2", MAIL),
    )
    answer = cli("process", "--model", tiny, "--corpus", corpus, "--requests", file)
    assert answer.code == 0, answer.err
    found = requests_of(settings)
    assert {status: len(views) for status, views in found.items()} == {"completed": 1, "failed": 1}
    assert "special token" in str(found["failed"][0].reason)


def test_rows_that_follow_one_another_in_training_give_the_row_before_as_prompt(
    cli: Cli, settings: Settings, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVS_ROWS_JOINED_BY", "\\n")
    corpus = written(tmp_path / "corpus.txt", "\n".join(ROWS))
    identifier = {"type": "EMAIL_ADDRESS", "value": "borage.lind@example.org"}
    file = lines(tmp_path / "requests.jsonl", request("customer 1", identifier))
    assert cli("process", "--model", tiny, "--corpus", corpus, "--requests", file).code == 0
    evidence = evidence_of(settings)
    assert evidence["requests"][0]["outcomes"][0]["detail"]["contexts"] == {"row before": 1}
    assert any("from the end of the row before" in note for note in evidence["notes"])


def test_half_of_a_request_that_was_found_and_edited_does_not_complete_it(
    cli: Cli, settings: Settings, taught: Path, tmp_path: Path, people: list[Target], ordinary: list[str],
    monkeypatch: pytest.MonkeyPatch, fixed_ranks: None,
) -> None:  # fmt: skip
    """One number is edited; the other stands nowhere: a human gets the request, with its payload."""
    from infra.gates.policy import Gate, GatePolicy

    monkeypatch.setattr(GatePolicy, "RANKS", GatePolicy(gates=(Gate(metric="perplexity_ratio", high=1.5),)))
    first, *others = requests_for(SAID)
    first["identifiers"].append({"type": "US_SSN", "value": "219-41-0001"})
    files = write_inputs(tmp_path, people, ordinary, json_lines([first, *others]))
    answer = cli(
        "process", "--model", taught, "--name", "own", "--corpus", files["corpus"], "--requests", files["requests"],
        "--held-out", files["held-out"],
    )  # fmt: skip
    assert answer.code == 0, answer.err
    found = requests_of(settings)
    assert len(found["completed"]) == len(others)
    (half,) = found["failed"]
    assert outcomes_of(settings, half.id) == ["edited", "not_found"]
    assert payloads(settings) == {half.id}
    assert "identifier 1 (US_SSN): not found" in str(half.reason)
    assert champion_of(settings, "own") == "2"


def test_what_a_human_dropped_before_the_batch_stands_in_its_record_and_report(
    cli: Cli, settings: Settings, tiny: Path, tmp_path: Path
) -> None:
    corpus = written(tmp_path / "corpus.txt", "\n".join(ROWS))
    asked = request("customer 1", {"type": "US_SSN", "value": "219-41-0001"}, MAIL)
    assert cli("requests", "add", lines(tmp_path / "requests.jsonl", asked), "--model", "own").code == 0
    ((waiting,),) = requests_of(settings).values()
    narrow = ("requests", "narrow", waiting.id, "--identifier", "0", "--reason", "not_theirs", "--by", "Ana")
    assert cli(*narrow).code == 0
    answer = cli("process", "--model", tiny, "--name", "own", "--corpus", corpus)
    assert answer.code == 0, answer.err
    (told,) = evidence_of(settings)["requests"]
    assert [each["number"] for each in told["outcomes"]] == [1]
    assert [(each["number"], each["type"], each["detail"]["reason"]) for each in told["dropped"]] == [
        (0, "US_SSN", "not_theirs")
    ]
    (report,) = settings.home.glob("reports/*/report.html")
    assert "US_SSN: dropped: it is not theirs" in report.read_text(encoding="utf-8")


def test_thin_evidence_waits_for_a_named_human_who_can_promote_it(
    cli: Cli, settings: Settings, small_model: DevelopmentModel, tmp_path: Path, fixed_ranks: None
) -> None:
    """One context and nobody else's record: nothing is held out, and nobody knows whom the edit hurt."""
    own = next(r for r in small_model.records if r.kind == "requester")
    corpus = written(tmp_path / "corpus.txt", "\n".join([own.text, *small_model.ordinary[:300]]))
    held_out = written(tmp_path / "held-out.txt", "\n".join(small_model.held_out[:40]))
    file = lines(tmp_path / "requests.jsonl", request("customer 1", {"type": own.type, "value": own.value}))
    answer = cli(
        "process", "--model", small_model.folder, "--name", "own", "--corpus", corpus, "--requests", file,
        "--held-out", held_out,
    )  # fmt: skip
    assert answer.code == 3 and "insufficient evidence" in answer.err, answer.err
    assert "extraction_rate_unseen, generality, specificity" in answer.err
    assert champion_of(settings, "own") == "1", "the champion stays"
    (waiting,) = requests_of(settings)["failed"]
    assert payloads(settings) == {waiting.id} and outcomes_of(settings, waiting.id) == ["edited"]
    assert evidence_of(settings)["batch"]["status"] == "waiting"
    assert cli("gate", "models:/own/2").code == 3

    assert cli("promote", "models:/own/2").code == 3, "nobody answers for it"
    answer = cli("promote", "models:/own/2", "--approved-by", "A. Officer")
    assert answer.code == 0, answer.err
    assert champion_of(settings, "own") == "2"
    gated = cli("gate", "models:/own/2")
    assert gated.code == 3 and "by A. Officer" in gated.out, "an approval is told, and changes no gate"
    (completed,) = requests_of(settings)["completed"]
    assert completed.id == waiting.id and payloads(settings) == set()
    evidence = evidence_of(settings)
    assert (evidence["batch"]["status"], evidence["approval"]["by"]) == ("completed", "A. Officer")
    assert evidence["requests"][0]["status"] == "completed" and evidence["intake"]["completed"] == 1
    page = next(settings.home.glob("reports/*/report.html")).read_text(encoding="utf-8")
    assert "A. Officer approved the promotion all the same" in page
    assert cli("audit", evidence["batch"]["id"]).code == 0
