"""What was erased does not come back by an alias moved by hand, a model trained anew or an older version."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from registered import REQUEST, Installation, flip_last_bit, strip_signature

from infra.registry import ModelVersion
from revs.errors import BadInput, GateRefused
from tasks.stages.requests import open_batch
from tasks.versions.gate import judge_record


def version(number: str, **tags: str) -> ModelVersion:
    return ModelVersion(
        name="m", version=number, uri=f"models:/m/{number}", run_id="", source="",
        tags={f"revs.{name}": value for name, value in tags.items()},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("ancestry", "completed", "missing", "why"),
    [
        (["3", "2", "1"], [("a", "2"), ("b", "3")], (), "every version that a batch made is an ancestor"),
        (["1"], [("a", "2"), ("b", "3")], ("a", "b"), "the root has none of them"),
        (["2", "1"], [("a", "2"), ("b", "3")], ("b",), "the last one is missing"),
        (["4", "2", "1"], [("a", "2"), ("b", "3")], ("b",), "derived past the version in between"),
        (["1"], [], (), "nothing was erased yet"),
        (["12", "1"], [("a", "2")], ("a",), "12 is not 2"),
    ],
)
def test_a_version_lacks_the_batches_whose_versions_are_no_ancestors(
    ancestry: list[str], completed: list[tuple[str, str]], missing: tuple[str, ...], why: str
) -> None:
    from infra.registry import missing_batches

    found = missing_batches([version(number) for number in ancestry], completed)
    assert tuple(batch for batch, _ in found) == missing, why


@pytest.mark.parametrize("count", [0, 1, 40, 41, 200])
def test_a_new_root_supersedes_the_batches_it_names_however_many(count: int) -> None:
    from infra.registry import missing_batches
    from infra.registry.lineage import root_tags

    batches = [f"B-20261123-{number:06x}" for number in range(count)]
    tags = root_tags(batches)
    assert all(len(text) <= 5_000 for text in tags.values())
    root = ModelVersion(name="m", version="9", uri="models:/m/9", run_id="", source="", tags=tags)
    completed = [(batch, str(number)) for number, batch in enumerate(batches)]
    assert missing_batches([root], [*completed, ("later", "500")]) == (("later", "500"),)


def test_a_batch_is_not_derived_from_a_version_that_lacks_completed_erasures(
    here: Installation, two_batches: tuple[str, str]
) -> None:
    here.point_champion_to("1")
    here.store.add(REQUEST | {"subject": "three"}, model="demo")
    with pytest.raises(GateRefused) as refusal:
        open_batch.fn("demo")
    text = str(refusal.value)
    assert all(batch in text for batch in two_batches)
    assert "models:/demo/1 lacks" in text and "revs promote models:/demo/3" in text and "\n" not in text
    assert [view.status for view in here.store.list(status="received")] == ["received"]


@pytest.mark.parametrize("moved_to", ["1", "2"])
def test_the_version_that_lacks_nothing_is_made_champion_again_by_command(
    moved_to: str, here: Installation, two_batches: tuple[str, str]
) -> None:
    from tasks.versions.promote import promote_version

    here.point_champion_to(moved_to)
    with pytest.raises(GateRefused, match="lacks what completed batches erased"):
        promote_version(here.settings, "models:/demo/2", approved_by="A. Officer")
    assert promote_version(here.settings, "models:/demo/3", approved_by=None)["champion"] == "3"
    here.store.add(REQUEST | {"subject": "three"}, model="demo")
    assert open_batch.fn("demo") is not None


def test_a_champion_that_lost_its_alias_gets_it_back_by_command(here: Installation) -> None:
    from tasks.versions.promote import promote_version

    here.registry._client.delete_registered_model_alias("demo", "champion")
    assert promote_version(here.settings, "models:/demo/1", approved_by="A. Officer")["champion"] == "1"
    assert promote_version(here.settings, "models:/demo/1", approved_by=None)["champion"] == "1", "it is, already"


@pytest.mark.parametrize("status", ["superseded", "champion"])
def test_a_tag_alone_makes_no_version_champion_unless_somebody_answers_for_it(status: str, here: Installation) -> None:
    from tasks.versions.promote import promote_version

    other = here.registry.register_base(here.checkpoints[1], name="demo", corpus="corpus.txt")
    here.registry._client.set_model_version_tag("demo", other.version, "revs.status", status)
    with pytest.raises(GateRefused, match=f"no gate judged it here.*revs promote {other.uri} --approved-by NAME"):
        promote_version(here.settings, other.uri, approved_by=None)
    assert here.registry.champion("demo").version == "1"
    assert promote_version(here.settings, other.uri, approved_by="A. Officer")["champion"] == other.version
    (event,) = [event for event in here.store.events() if event.event == "version.reinstated"]
    assert event.detail["approved_by"] == "A. Officer"


def test_a_tag_that_names_a_batch_which_made_no_version_answers_for_none(here: Installation) -> None:
    from tasks.versions.promote import promote_version

    here.store.add(REQUEST | {"subject": "one"}, model="demo")
    batch = here.store.open_batch(model="demo", corpus="corpus.txt", source="models:/demo/1")
    assert batch is not None
    here.store.close_batch(batch.id, status="completed", outcome={})
    other = here.registry.register_base(here.checkpoints[1], name="demo", corpus="corpus.txt")
    strip_signature(here.registry, other)  # of a signed one no tag can be set
    for name, value in {"revs.status": "superseded", "revs.batch_id": batch.id}.items():
        here.registry._client.set_model_version_tag("demo", other.version, name, value)
    with pytest.raises(GateRefused, match="no gate judged it here"):
        promote_version(here.settings, other.uri, approved_by=None)
    assert here.registry.champion("demo").version == "1"
    promote_version(here.settings, other.uri, approved_by="A. Officer")
    assert here.registry.champion("demo").tags["revs.approved_by"] == "A. Officer", "the version names who answers"


def test_what_is_said_of_an_alias_on_a_base_that_was_never_champion_works_as_printed(here: Installation) -> None:
    from tasks.health.models import problems_of_model
    from tasks.versions.promote import declare_new_root

    other = here.registry.register_base(here.checkpoints[1], name="demo", corpus="corpus.txt")
    here.point_champion_to(other.version)
    (text,) = problems_of_model(here.registry, here.store, "demo", deep=False)
    assert f"revs promote {other.uri} --new-root --approved-by NAME" in text
    declare_new_root(here.settings, other.uri, approved_by="A. Officer")
    assert not [*problems_of_model(here.registry, here.store, "demo", deep=False)]


def test_the_gate_refuses_a_version_that_lacks_a_completed_erasure(
    here: Installation, two_batches: tuple[str, str]
) -> None:
    from tasks.versions.gate import refuse_lost_erasures

    version, report = judge_record(here.settings, "models:/demo/2")
    assert report.passed
    with pytest.raises(GateRefused, match=two_batches[1]):
        refuse_lost_erasures(here.settings, version)
    refuse_lost_erasures(here.settings, here.registry.resolve("models:/demo/3"))


def test_a_parent_whose_entry_was_deleted_is_known_from_the_request_store(
    here: Installation, two_batches: tuple[str, str]
) -> None:
    from tasks.versions.lineage import missing_erasures

    here.registry._client.delete_model_version("demo", "2")
    assert missing_erasures(here.registry, here.store, here.registry.champion("demo")) == ()


def test_a_model_trained_anew_is_declared_by_a_human_and_then_edited(
    here: Installation, two_batches: tuple[str, str], tmp_path: Path
) -> None:
    from tasks.versions.promote import declare_new_root, promote_version

    anew = shutil.copytree(here.checkpoints[1], tmp_path / "anew")
    flip_last_bit(anew / "model.safetensors")
    assert here.registry.register_base(anew, name="demo", corpus="corpus.txt").version == "4"
    with pytest.raises(GateRefused, match="--new-root --approved-by NAME"):
        promote_version(here.settings, "models:/demo/4", approved_by="A. Officer")
    done = declare_new_root(here.settings, "models:/demo/4", approved_by="A. Officer")
    assert (done["champion"], done["supersedes"]) == ("4", list(two_batches))
    declare_new_root(here.settings, "models:/demo/4", approved_by="A. Officer")  # again: nothing is forgotten
    root = here.registry.champion("demo")
    assert root.tags["revs.approved_by"] == "A. Officer"
    assert all(batch in root.tags["revs.new_root"] for batch in two_batches)
    here.store.add(REQUEST | {"subject": "three"}, model="demo")
    assert open_batch.fn("demo") is not None
    assert {event.detail["approved_by"] for event in here.store.events() if event.event == "version.new_root"} == {
        "A. Officer"
    }


@pytest.mark.parametrize("again", [False, True], ids=["the version itself", "its weights registered again"])
def test_a_model_that_data_were_erased_from_is_no_new_root_whatever_a_human_says(
    again: bool, here: Installation, two_batches: tuple[str, str], tmp_path: Path
) -> None:
    from tasks.versions.promote import declare_new_root

    uri = "models:/demo/1"
    if again:
        copy = shutil.copytree(here.checkpoints[0], tmp_path / "copy")
        (copy / "generation_config.json").write_text('{"max_length": 9}')
        uri = here.registry.register_base(copy, name="demo", corpus="corpus.txt").uri
    with pytest.raises(GateRefused, match=rf"{uri} is the model from which batch {two_batches[0]} erased data"):
        declare_new_root(here.settings, uri, approved_by="A. Officer")
    assert here.registry.champion("demo").version == "3"


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", "x" * 101])
def test_a_new_root_needs_a_base_version_and_a_name(name: str, here: Installation) -> None:
    from tasks.versions.promote import declare_new_root

    here.batch("one", here.checkpoints[1])
    with pytest.raises(BadInput, match="only a version that was registered as a base"):
        declare_new_root(here.settings, "models:/demo/2", approved_by="A. Officer")
    with pytest.raises(BadInput, match="name of who approves"):
        declare_new_root(here.settings, "models:/demo/1", approved_by=name)
