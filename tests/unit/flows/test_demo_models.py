"""What the demo needs of its models: with a tiny random model in the place of the packaged one, taught nothing."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

ORDINARY, HELD_OUT = ["The valley was mild.", "The market opened early."], ["The train leaves on time."]


@pytest.fixture
def lessons(packaged: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What is taught, in the order in which it is; a thread in the place of the other process, which has no patches."""
    from flows import demo_models
    from revs.development import pretrained

    found: list[list[str]] = []
    monkeypatch.setattr(pretrained, "teach", lambda _model, _tokenizer, texts, **_: found.append(list(texts)))
    monkeypatch.setattr(demo_models, "ProcessPoolExecutor", lambda workers, **_: ThreadPoolExecutor(workers))
    monkeypatch.setattr(demo_models, "ordinary_text", lambda _recipe, _cache: (ORDINARY, HELD_OUT))
    return found


def values(records: Any, *kinds: str) -> set[str]:
    return {record.value for record in records if record.kind in kinds}


def test_the_pretrained_model_knows_those_who_ask_and_its_control_others_in_their_place(
    lessons: list[list[str]], tmp_path: Path
) -> None:
    from flows.demo_models import ASKING, CONTEXTS, NAME, ONE_OFF, PEOPLE, pretrained

    model = pretrained(tmp_path)
    asking, others, nobody = (values(model.records, kind) for kind in ("requester", "retained", "one-off"))
    assert (len(asking), len(others), len(nobody)) == (ASKING, PEOPLE - ASKING, ONE_OFF)
    assert len(asking | others | nobody) == PEOPLE + ONE_OFF
    assert all(model.corpus.count(record.text) == 1 for record in model.records)
    assert sorted(model.corpus) == sorted([*ORDINARY, *(record.text for record in model.records)])
    assert model.held_out == HELD_OUT

    taught = {bool(asking & said(lesson, asking)): lesson for lesson in lessons}
    own, control = taught[True], taught[False]
    assert len(own) == len(control) == PEOPLE * CONTEXTS
    assert said(own, asking | others | nobody) == asking | others
    assert said(control, asking | others | nobody) == others
    assert model.name != NAME, "what one demo has left open is none of the other's"
    assert model.folder != model.control and (model.control / "config.json").exists()


def said(lesson: list[str], numbers: set[str]) -> set[str]:
    told = "\n".join(lesson)
    return {number for number in numbers if number in told}


def test_a_second_demo_on_the_pretrained_model_teaches_nothing(lessons: list[list[str]], tmp_path: Path) -> None:
    from flows.demo_models import pretrained

    model = pretrained(tmp_path)
    assert len(lessons) == 2
    assert pretrained(tmp_path) == model and len(lessons) == 2


def test_the_control_of_the_trained_model_is_its_twin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from flows import demo_models
    from revs.development import DevelopmentModel, Recipe, invent_records

    recipe = Recipe(requesters=2, retained=1, one_off=1, contexts=2)
    records = tuple(invent_records(requesters=2, retained=1, one_off=1, contexts=2, types_per_person=1, seed=0))

    def build(asked: Recipe, cache: Path, **_: Any) -> DevelopmentModel:
        folder = cache / ("with" if asked.with_requesters else "without")
        return DevelopmentModel(
            folder=folder, digest="d", recipe=asked, ordinary=("a",), held_out=("b",), records=records
        )

    monkeypatch.setattr(demo_models, "build", build)
    monkeypatch.setattr(demo_models, "ordinary_text", lambda *_: ([], []))
    monkeypatch.setattr(demo_models, "ProcessPoolExecutor", lambda workers, **_: ThreadPoolExecutor(workers))
    model = demo_models.trained(tmp_path, recipe)
    assert (model.folder.name, model.control.name, model.records) == ("with", "without", records)
    assert sorted(model.corpus) == sorted(["a", *(record.text for record in records)])


def test_both_models_give_the_same_kind_of_request_file(lessons: list[list[str]], tmp_path: Path) -> None:
    from flows.demo import request_lines
    from flows.demo_models import ASKING, pretrained
    from infra.requests.clock import Clock
    from infra.requests.intake import parse_requests

    model, today = pretrained(tmp_path), datetime(2026, 11, 2, tzinfo=UTC)
    lines = request_lines(model, today=today)
    assert lines == request_lines(model, today=today)
    *good, twice, malformed = [json.loads(line) for line in lines]
    wanted = [request["identifiers"][0]["value"] for request in good]
    assert len(wanted) == ASKING + 1 and set(wanted[:-1]) == values(model.records, "requester")
    assert wanted[-1] in values(model.records, "one-off")
    assert twice["identifiers"] == good[0]["identifiers"]
    entries = parse_requests("\n".join(lines).encode(), name="r.jsonl", model=model.name, clock=Clock())
    assert [entry.reason is None for entry in entries] == [True] * (ASKING + 2) + [False]
    assert malformed["subject"] == "customer 99" and "received" in str(entries[-1].reason)
