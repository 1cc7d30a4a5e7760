"""`revs lineage`: a chain of versions verified from the bytes, and what it says of whatever was tampered with."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from chain_of_versions import IDENTIFIER, SECRETS, build, copied, flip, opened
from command_line import Answer, Revs, in_process
from registered import make_checkpoint, strip_signature
from tampered import drop_tag, rewritten, run_folder, set_tag, stored

from infra.registry import ModelVersion, Registry, changed_tensors
from infra.requests import RequestStore

Change = Callable[["Home"], object]


@dataclass(frozen=True)
class Home:
    """A copy of the chain: version 3 is the champion, made from 2, made from 1."""

    path: Path
    store: RequestStore
    registry: Registry

    def version(self, number: str) -> ModelVersion:
        return self.registry.resolve(f"models:/demo/{number}")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Path:
    root = tmp_path_factory.mktemp("chain")
    with pytest.MonkeyPatch.context() as patch:
        build(root / "home", make_checkpoint(root / "checkpoint", 0), empty_database, patch)
    return root / "home"


@pytest.fixture
def home(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setattr("infra.running.prefect_settings.prepare", lambda _: None)
    _, store, registry = copied(template, tmp_path / "home", monkeypatch)
    yield Home(tmp_path / "home", store, registry)
    store.close()


@pytest.fixture
def revs(home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Revs:
    return in_process(monkeypatch, capsys, *SECRETS)


def checks(answer: Answer) -> dict[str, dict[str, Any]]:
    """By the number of the version, what was checked of it."""
    return {each["version"]: {c["name"]: c for c in each["checks"]} for each in json.loads(answer.out)["versions"]}


def test_a_chain_of_three_versions_holds_and_tells_what_each_was_made_of(revs: Revs, home: Home) -> None:
    answer = revs("lineage", "demo", "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert (found["model"], found["version"], found["holds"]) == ("demo", "3", True)
    newest, middle, root = found["versions"]
    assert [each["version"] for each in found["versions"]] == ["3", "2", "1"]
    assert not [c for version in checks(answer).values() for c in version.values() if c["holds"] is False]
    assert (newest["aliases"], newest["status"], newest["parent"]) == (["champion"], "champion", "models:/demo/2")
    assert newest["registered"].endswith("+00:00") and newest["batch"].startswith("B-")
    assert [len(each["requests"]) for each in found["versions"]] == [1, 1, 0]
    (changed,) = newest["patch"]["tensors"]
    assert changed["before"] != changed["after"] and newest["patch"]["digest"].startswith("sha256:")
    assert newest["versions"]["torch"] == "2.13.0" and newest["code_commit"].startswith("9c1f2ab")
    assert root["code_commit"] and root["versions"]["torch"], "a base says what registered it"
    corpus, sample = newest["datasets"]
    assert (corpus["rows"], corpus["opens_here"], sample["role"]) == (12_480, True, "text for perplexity")
    assert home.store.address(corpus["reference"]) == "/data/people-of-wren/corpus.txt"
    assert newest["metrics"] == {
        "after": {"efficacy": 95}, "before": {"efficacy": 3.25}, "decoys_after": {"efficacy": 96.5},
    }  # fmt: skip
    assert (newest["verdict"], newest["policy"]["bounds"]["efficacy"]["low"]) == ("passed", 90)
    assert middle["status"] == "superseded"
    weights = checks(answer)["3"]["weights"], checks(answer)["3"]["patch"]
    assert [(c["holds"], c["said"]) for c in weights] == [
        (True, "digested again: as registered"), (True, "differs from the parent as listed, tensors: 1"),
    ]  # fmt: skip


def weights_of_the_root(here: Home) -> None:
    other = stored(here.registry, here.version("2")) / "model" / "model.safetensors"
    shutil.copyfile(other, stored(here.registry, here.version("1")) / "model" / "model.safetensors")


def provenance_of_the_middle(here: Home) -> None:
    for name in ("model.sig", "provenance.json"):
        folder = run_folder(here.registry, here.version("2"))
        shutil.copyfile(folder / name, run_folder(here.registry, here.version("3")) / name)


def alias_moved(here: Home) -> None:
    here.registry._client.set_registered_model_alias("demo", "champion", "2")


def alias_deleted(here: Home) -> None:
    here.registry._client.delete_registered_model_alias("demo", "champion")


def alias_moved_with_the_tags(here: Home) -> None:
    alias_moved(here)
    set_tag("revs.status", "champion")(here.registry, here.version("2"))
    set_tag("revs.status", "superseded")(here.registry, here.version("3"))


def another_input(here: Home) -> None:
    from mlflow.entities import Dataset, DatasetInput

    dataset = Dataset(name="other", digest="00", source_type="code", source='{"tags": {}}')
    here.registry._client.log_inputs(here.version("3").run_id, [DatasetInput(dataset, [])])


def another_digest(here: Home) -> None:
    with sqlite3.connect(here.path / "mlflow.db") as database:
        changed = database.execute("UPDATE input_tags SET value = 'ff' WHERE name = 'revs.digest'").rowcount
    database.close()
    assert changed


def another_parent_of_the_same_number(here: Home) -> None:
    """By who holds the key: other weights, signed, under the number of the middle."""
    from infra.registry import bundles

    signers, version, other = here.registry.signers, here.version("2"), "sha256:" + "0" * 64
    assert signers is not None
    path = run_folder(here.registry, version) / "provenance.json"
    statement, _ = bundles.statement_signed(path.read_bytes(), signers)
    statement["predicate"]["buildDefinition"]["externalParameters"]["weights"] = other
    path.write_bytes(bundles.sign_statement(statement, signers))


def on(number: str, change: Callable[[Registry, ModelVersion], object]) -> Change:
    return lambda here: change(here.registry, here.version(number))


def files_gone(registry: Registry, version: ModelVersion) -> None:
    shutil.rmtree(stored(registry, version))


@pytest.mark.parametrize(
    ("change", "named", "failing"),
    [
        (weights_of_the_root, r"the weights of models:/demo/1 changed .*model\.safetensors", {"1 weights"}),
        (
            on("2", rewritten(lambda e: e["scores"]["after"].update(efficacy=99.0))),
            r"models:/demo/2 .*tag revs\.evidence was changed.* scores\.after\.efficacy",
            {"2 signature", "2 log"},
        ),
        (on("2", set_tag("revs.corpus")), r"models:/demo/2 .*: tag revs\.corpus was changed", {"2 signature"}),
        (on("2", drop_tag("revs.batch_id")), r"models:/demo/2 .*tag revs\.batch_id is gone", {"2 signature"}),
        (
            on("3", set_tag("revs.parent", "1")),
            r"models:/demo/3 .*tag revs\.parent was changed",
            {"3 signature", "3 parent"},
        ),
        (
            on("1", set_tag("revs.parent", "3")),
            r"models:/demo/1 .*tag revs\.parent was added",
            {"1 signature", "1 circle"},
        ),
        (provenance_of_the_middle, r"models:/demo/3 .*its signature is that of another version", {"3 signature"}),
        (
            another_parent_of_the_same_number,
            r"models:/demo/3: it was made from weights sha256:.*models:/demo/2 has",
            {"3 parent"},
        ),
        (alias_moved, r"models:/demo/3: by the log it was .* alias names models:/demo/2", {"3 alias", "2 alias"}),
        (alias_moved_with_the_tags, r"models:/demo/3: by the log it was .*moved by hand", {"3 alias", "2 alias"}),
        (alias_deleted, r"models:/demo/3: by the log it was .*names no version: it was moved by hand", {"3 alias"}),
        (
            lambda here: here.registry._client.delete_model_version("demo", "2"),
            r"models:/demo/2: its entry .*deleted",
            {"2 entry"},
        ),
        (another_input, r"models:/demo/3: the data set other .*an input in MLflow and not in its", {"3 data sets"}),
        (another_digest, r"models:/demo/3: the data set \w+ with digest ff is an", {"3 data sets", "2 data sets"}),
        (on("2", set_tag("revs.approved_by", "M. Allory")), r"models:/demo/2: .*M\. Allory .*nobody did", {"2 log"}),
        (on("1", files_gone), r"models:/demo/1: its files are gone, and by the log .*not retired", {"1 weights"}),
        (on("2", strip_signature), r"the signature of models:/demo/2 is gone", {"2 signature", "2 log"}),
    ],
)
def test_what_was_tampered_with_is_named_with_its_version_after_the_chain(
    change: Change, named: str, failing: set[str], revs: Revs, home: Home
) -> None:
    change(home)
    answer = revs("lineage", "models:/demo/3")
    assert answer.code == 1
    assert re.search(named, answer.err), answer.err
    shown = re.findall(r"^(.) models:/demo/(\d)  ", answer.out, flags=re.MULTILINE)
    assert [number for _, number in shown] == ["3", "2", "1"], "the whole chain, however broken"
    assert {number for mark, number in shown if mark == "✗"} == {each[0] for each in failing}
    assert failed(answer) == failing, "and nothing else is blamed"
    assert "the chain does not hold" in answer.out.splitlines()[-1]


def failed(answer: Answer) -> set[str]:
    """The number of the version and the name of each check that is marked."""
    marked: set[str] = set()
    for line in answer.out.splitlines():
        if found := re.match(r". models:/demo/(\d)  ", line):
            number = found[1]
        if found := re.match(r"  ✗ ([a-z ]+): ", line):
            marked.add(f"{number} {found[1]}")
    return marked


def test_parents_that_go_round_in_a_circle_end_the_chain(revs: Revs, home: Home) -> None:
    set_tag("revs.parent", "3")(home.registry, home.version("1"))
    found = checks(revs("lineage", "models:/demo/3", "--json", "--records-only"))
    assert list(found) == ["3", "2", "1"]
    assert (
        "models:/demo/1: its parent models:/demo/3 is made from it: the parents go round"
        in (found["1"]["circle"]["said"])
    )


def test_of_a_remote_store_no_more_than_two_versions_lie_here_at_once(
    revs: Revs, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from infra.registry import copies

    monkeypatch.setattr("infra.registry.copies.local_path", lambda _: None)
    monkeypatch.setattr("infra.registry.catalogue.local_path", lambda _: None)
    (tmp_path / "copies").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "copies"))
    download, seen = copies.download, []

    def counted(*arguments: Any) -> Path:
        folder = download(*arguments)
        seen.append(len(list((tmp_path / "copies").rglob("*.safetensors"))))
        return folder

    monkeypatch.setattr("infra.registry.copies.download", counted)
    answer = revs("lineage", "demo", "--json")
    assert answer.code == 0, answer.err
    assert checks(answer)["3"]["patch"]["holds"] is True
    assert seen == [1, 2, 2]
    assert not list((tmp_path / "copies").iterdir()), "nothing is left"


def test_with_records_only_no_weights_are_read_and_the_answer_says_so(revs: Revs, home: Home) -> None:
    weights_of_the_root(home)
    answer = revs("lineage", "demo", "--records-only")
    assert answer.code == 0, answer.err
    assert answer.out.count("weights: not read (--records-only)") == 3
    assert answer.out.splitlines()[-1] == "the chain of models:/demo/3 holds: 3 versions; weights were not read"


def test_a_chain_of_another_installation_says_what_cannot_be_checked(
    template: Path, home: Home, tmp_path: Path, revs: Revs, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert home.registry.signers is not None
    (tmp_path / "theirs.pub").write_bytes(next(iter(home.registry.signers.accepted().values())))
    monkeypatch.setenv("REVS_MLFLOW_TRACKING_URI", home.registry.tracking_uri)
    monkeypatch.setenv("REVS_TRUSTED_SIGNERS", str(tmp_path / "theirs.pub"))
    _, store, _ = opened(tmp_path / "elsewhere", monkeypatch)
    answer = revs("lineage", "demo", "--json")
    assert answer.code == 0, answer.err
    for found in checks(answer).values():
        assert (found["log"]["holds"], found["signature"]["holds"]) == (None, True)
        assert "this installation has no record" in found["log"]["said"]
    assert checks(answer)["3"]["alias"]["holds"] is None
    assert json.loads(answer.out)["versions"][0]["datasets"][0]["opens_here"] is False
    store.close()


def retired(here: Home, number: str, *, event: bool = True) -> None:
    """What is left of a version whose time was up."""
    version = here.version(number)
    shutil.rmtree(stored(here.registry, version))
    set_tag("revs.status", "retired")(here.registry, version)
    if event:
        here.store.record("version.retired", detail={"version": version.uri})


def test_a_retired_version_does_not_break_the_chain(revs: Revs, home: Home) -> None:
    retired(home, "1")
    retired(home, "2")
    answer = revs("lineage", "demo", "--json")
    assert answer.code == 0, answer.err
    today = next(event.at for event in home.store.events(event="version.retired")).date().isoformat()
    found = checks(answer)
    assert [found[n]["weights"]["said"] for n in "12"] == [f"retired on {today}; its documents verify"] * 2
    assert found["3"]["weights"]["holds"] is True and found["3"]["parent"]["holds"] is True


def test_a_tag_alone_retires_no_version(revs: Revs, home: Home) -> None:
    retired(home, "1", event=False)
    answer = revs("lineage", "demo")
    assert answer.code == 1 and "models:/demo/1: its files are gone, and by the log it was not retired" in answer.err


def test_of_a_retired_version_the_documents_are_verified(revs: Revs, home: Home) -> None:
    retired(home, "2")
    flip(run_folder(home.registry, home.version("2")) / "lineage.json", 30)
    answer = revs("lineage", "demo")
    assert answer.code == 1 and "models:/demo/2 is not what was signed: lineage.json" in answer.err


@pytest.mark.parametrize("event", ["version.reinstated", "version.rolled_back"])
def test_an_alias_set_back_by_command_and_a_human_who_approved_are_in_order(event: str, revs: Revs, home: Home) -> None:
    version = home.version("2")
    home.registry._client.set_registered_model_alias("demo", "champion", "2")
    for tag, value in (("revs.status", "champion"), ("revs.approved_by", "A. Officer")):
        set_tag(tag, value)(home.registry, version)
    home.store.record(event, detail={"version": version.uri, "approved_by": "A. Officer"})
    for uri in ("models:/demo/2", "models:/demo/3"):
        answer = revs("lineage", uri, "--records-only")
        assert answer.code == 0, answer.err
        assert "approved by A. Officer" in answer.out


def test_more_than_the_listed_tensors_changed_is_noticed(tmp_path: Path) -> None:
    from tasks.versions import proofs

    before = make_checkpoint(tmp_path / "before", 0)
    after = Path(shutil.copytree(before, tmp_path / "after"))
    flip(after / "model.safetensors", -1)
    listed = changed_tensors(before, after)
    version = ModelVersion(name="m", version="2", uri="models:/m/2", run_id="", source="")
    assert proofs.patch(version, listed, before, after).holds is True
    assert proofs.patch(version, None, before, after).holds is None
    for wrong in ([], [listed[0] | {"before": "sha256:00"}], [*listed, listed[0] | {"name": "another"}]):
        found = proofs.patch(version, wrong, before, after)
        assert found.holds is False and found.said.startswith("models:/m/2: it differs from its parent otherwise")


def test_a_bill_of_materials_is_valid_and_the_same_for_the_same_version(revs: Revs, home: Home, tmp_path: Path) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    bills = [tmp_path / name for name in ("one.json", "two.json")]
    assert revs("lineage", "models:/demo/3", "--bom", bills[0]).code == 0
    retired(home, "1")
    assert revs("lineage", "models:/demo/3", "--bom", bills[1]).code == 0
    text = bills[0].read_text()
    assert bills[1].read_text() == text, "a later look at the version, whose root was retired meanwhile"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert not any(secret in text for secret in SECRETS)
    model = json.loads(text)["metadata"]["component"]
    assert (model["type"], model["name"], model["version"]) == ("machine-learning-model", "demo", "3")
    assert "sha256:" + model["hashes"][0]["content"] == home.version("3").weights
    assert sorted(each["version"] for each in model["pedigree"]["ancestors"]) == ["1", "2"]
    assert "model/model.safetensors" in {each["name"] for each in model["components"]}
    kinds = {each["type"] for each in json.loads(text)["components"]}
    assert kinds == {"data", "library", "platform"}
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert {"type": "efficacy", "value": "3.25", "slice": "before"} in metrics
    assert revs("lineage", "models:/demo/2", "--bom", bills[1]).code == 0
    assert json.loads(bills[1].read_text())["serialNumber"] != json.loads(text)["serialNumber"]


def test_no_bill_of_materials_is_written_of_a_chain_that_does_not_hold(revs: Revs, home: Home, tmp_path: Path) -> None:
    weights_of_the_root(home)
    assert revs("lineage", "demo", "--bom", tmp_path / "bom.json").code == 1
    assert not (tmp_path / "bom.json").exists()


def test_a_bill_of_materials_that_cannot_be_written_is_one_line(revs: Revs, home: Home, tmp_path: Path) -> None:
    answer = revs("lineage", "demo", "--records-only", "--bom", tmp_path / "nowhere" / "bom.json")
    assert answer.code == 2 and "cannot be written" in answer.err


PAGE = Path(__file__).parents[3] / "docs" / "lineage.md"
DIFFERS = re.compile(r"[0-9a-f]{12,}(\+changes)?|\d{4}-\d\d-\d\dT[\d:+]+|B-\d{8}-[0-9a-f]{6}")


def test_the_page_shows_what_its_commands_print(revs: Revs, home: Home) -> None:
    """Each line that a block shows is printed, in that order; after the second block's weights were exchanged."""
    blocks = re.findall(r"^```console\n\$ revs (.*?)\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    for (command, shown), spoil in zip(blocks, (lambda _: None, weights_of_the_root), strict=True):
        spoil(home)
        printed = iter(DIFFERS.sub("…", revs(*command.split()).out).splitlines())
        for line in DIFFERS.sub("…", shown).splitlines():
            assert line in printed, line  # an iterator: what was passed over is gone


def test_nothing_of_a_request_is_in_any_output(revs: Revs, home: Home) -> None:
    """Each call of `revs` looks for the identifier, the subject and the name of the corpus in what it prints."""
    (request,) = home.store.list(batch_id=home.version("3").tags["revs.batch_id"])
    assert request.digest in revs("lineage", "demo", "--json", "--records-only").out, "the keyed digest"
    assert IDENTIFIER not in revs("lineage", "demo").out
