"""`revs scan --model … --erased`: a model that generates what was erased is noticed, and the value shows nowhere."""

from __future__ import annotations

import base64
import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from flows.cli.app import app
from infra.requests import IdentifierOutcome
from infra.settings import Settings, load_settings
from revs.errors import BadInput, GateRefused, OperationFailed, RevsError

ERASED, KEPT = "412-55-9031", "287-31-6604"
TEXT = "SSN: "  # an opening of the type, so the model recites what it learnt after it without any name
TEXTS = [f"{TEXT}{ERASED}.", f"Social Security Number: {KEPT}."]


class Models(NamedTuple):
    """Checkpoint folders: one that recites a number unasked, and the same after the number was erased."""

    reciting: Path
    edited: Path


class Answer(NamedTuple):
    error: RevsError | None
    out: str


@pytest.fixture(scope="module")
def models(
    tmp_path_factory: pytest.TempPathFactory,
    new_model: Callable[..., Any],
    fit: Callable[..., Any],
    tokenizer: Any,
    ordinary: list[str],
) -> Models:
    import revs

    root = tmp_path_factory.mktemp("models")
    folders = Models(root / "reciting", root / "edited")
    model = fit(new_model("llama", seed=3), TEXTS, steps=200)
    edited = copy.deepcopy(model)
    revs.erase(
        edited, tokenizer, [revs.Target(prompt=TEXT.rstrip(), secret=f" {ERASED}")],
        retain=[revs.Target(prompt=TEXTS[1].partition(" 2")[0], secret=f" {KEPT}")], text=ordinary,
    )  # fmt: skip
    for folder, saved in zip(folders, (model, edited), strict=True):
        saved.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folders


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr("infra.running.prefect_settings.prepare", lambda _: None)  # the environment is all tests'
    monkeypatch.setenv("REVS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("REVS_DEVICE", "cpu")
    monkeypatch.setenv("REVS_KEEP_DIGESTS", "true")
    return load_settings()


def complete(settings: Settings, *values: str) -> None:
    """A completed batch of one request that names these numbers."""
    from tasks.batch.stage import open_store

    store = open_store(settings)
    identifiers = [{"type": "US_SSN", "value": value} for value in values]
    store.add({"subject": values[0], "received": "2026-11-02", "identifiers": identifiers}, model="demo")
    batch = store.open_batch(model="demo", corpus="corpus/", source="models:/demo/1")
    assert batch is not None
    outcomes = [
        IdentifierOutcome(request_id=batch.request_ids[0], number=number, type="US_SSN", kind="edited")
        for number in range(len(values))
    ]
    store.close_batch(batch.id, status="completed", outcome={}, outcomes=outcomes)
    store.hold(batch.id).release()


def scan(settings: Settings, *arguments: str | Path) -> Answer:
    """`revs scan` in this process; whatever it says, and whatever it leaves in the home, no value is in it."""
    done = CliRunner().invoke(app, ["scan", "--home", str(settings.home), "--samples", "60", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, (RevsError, SystemExit)), repr(done.exception)
    error = done.exception if isinstance(done.exception, RevsError) else None
    written = b"".join(path.read_bytes() for path in sorted(settings.home.rglob("*")) if path.is_file())
    for value in (ERASED, KEPT):
        for spelling in (value, value.replace("-", ""), value[:6]):
            assert spelling not in done.output + str(error) and spelling.encode() not in written
    return Answer(error, done.stdout)


def test_a_model_that_generates_what_was_erased_is_refused_with_its_type_and_day(
    settings: Settings, models: Models
) -> None:
    complete(settings, ERASED, "633-20-4478")
    answer = scan(settings, "--model", models.reciting, "--erased")
    assert isinstance(answer.error, GateRefused) and answer.error.exit_code == 3
    assert "generates 1 of 2 erased identifiers again (US_SSN 1), in" in str(answer.error)
    answer = scan(settings, "--model", models.reciting, "--erased", "--json")
    assert answer.error is not None and answer.error.exit_code == 3
    returned = json.loads(answer.out)["returned"]
    (numbers,) = returned["types"]
    assert (numbers["type"], numbers["erased"], numbers["generated"], numbers["sought"]) == ("US_SSN", 2, 1, True)
    assert 0 < numbers["continuations"] == returned["continuations"] < 60 * returned["at_most"]
    (day,) = numbers["erased_on"]
    assert day.startswith("20")


def test_a_model_from_which_it_was_erased_passes_and_says_how_much_of_a_look_that_was(
    settings: Settings, models: Models
) -> None:
    complete(settings, ERASED)
    answer = scan(settings, "--model", models.edited, "--erased")
    assert answer.error is None
    said = " ".join(answer.out.split())
    assert "0 of 60 continuations hold one; with 95 % confidence at most 4.87% of those drawn like these do." in said
    assert "only after a person's name is not among them" in said


def test_what_others_still_have_there_and_nobody_erased_is_no_return(settings: Settings, models: Models) -> None:
    complete(settings, "633-20-4478")
    answer = scan(settings, "--model", models.reciting, "--erased", "--json")
    assert answer.error is None
    found = json.loads(answer.out)
    assert found["returned"]["continuations"] == 0
    assert found["with_findings"] > 0, "the model recites numbers"


def test_without_the_option_nothing_is_compared(settings: Settings, models: Models) -> None:
    complete(settings, ERASED)
    answer = scan(settings, "--model", models.reciting, "--json")
    assert answer.error is None and json.loads(answer.out)["returned"] is None


def test_a_list_on_which_nothing_is_ever_put_is_refused_instead_of_passing(
    settings: Settings, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = scan(settings, "--model", models.reciting, "--erased", "--json")
    assert answer.error is None, "digests are kept here, and nothing has been erased yet"
    assert json.loads(answer.out)["returned"]["types"] == []
    shown = scan(settings, "--model", models.reciting, "--erased").out
    assert "nothing was compared" in shown and "with 95 % confidence" not in shown
    monkeypatch.delenv("REVS_KEEP_DIGESTS")
    complete(load_settings(), ERASED)
    answer = scan(settings, "--model", models.reciting, "--erased")
    assert isinstance(answer.error, BadInput) and "set REVS_KEEP_DIGESTS=true" in str(answer.error)


def test_requests_completed_before_digests_were_kept_are_counted(
    settings: Settings, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.delenv("REVS_KEEP_DIGESTS")
        complete(load_settings(), KEPT)
    complete(settings, "633-20-4478")
    answer = scan(settings, "--model", models.reciting, "--erased")
    assert answer.error is None
    assert "no digest was kept of 1 completed request:" in " ".join(answer.out.split())


@pytest.mark.parametrize(
    ("lost", "said"),
    [("missing", "deployment.key is gone"), ("another", "the deployment key is not the one it was made with")],
)
def test_without_the_key_that_made_the_digests_it_ends_in_one_line(
    settings: Settings, models: Models, lost: str, said: str
) -> None:
    complete(settings, ERASED)
    if lost == "another":
        settings.key_file.write_text(base64.urlsafe_b64encode(bytes(32)).decode())
    else:
        settings.key_file.unlink()
    answer = scan(settings, "--model", models.reciting, "--erased")
    assert isinstance(answer.error, RevsError) and said in str(answer.error)
    assert "\n" not in str(answer.error)


def test_a_list_can_be_dropped_by_command(settings: Settings, models: Models) -> None:
    complete(settings, ERASED)
    dropped = CliRunner().invoke(app, ["requests", "drop-digests", "--home", str(settings.home)])
    assert dropped.output == "1 digest dropped\n"
    assert scan(settings, "--model", models.reciting, "--erased").error is None


def test_a_model_that_says_nothing_is_no_all_clear(
    settings: Settings, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    import revs.discover.sample

    complete(settings, ERASED)
    nothing = revs.discover.sample.Sample(prompt="", text=" ")
    monkeypatch.setattr(revs.discover.sample, "continuations", lambda *_, **__: [nothing] * 60)
    answer = scan(settings, "--model", models.reciting, "--erased")
    assert isinstance(answer.error, OperationFailed)
    assert "generated no text in 60 continuations" in str(answer.error)


def test_of_a_registered_version_only_what_was_erased_from_that_model_counts(
    settings: Settings, models: Models, empty_database: Path
) -> None:
    """Another model may still hold it: nobody asked for it to be erased there."""
    from tasks.batch.stage import open_registry

    shutil.copyfile(empty_database, settings.home / "mlflow.db")
    registry = open_registry(settings)
    for name in ("demo", "other"):
        registry.register_base(models.reciting, name=name, corpus="corpus.txt")
    complete(settings, ERASED)
    assert scan(settings, "--model", "models:/other/1", "--erased").error is None
    assert isinstance(scan(settings, "--model", "models:/demo/1", "--erased").error, GateRefused)
