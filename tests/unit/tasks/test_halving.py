"""Into which halves a refused batch is split, and where that ends."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from infra.batches.records import Context, PlannedContext, Targets
from infra.batches.workspace import Workspace
from infra.search.occurrences import Occurrence
from tasks.batch.halving import halves


def context(request_id: str, use: Any) -> PlannedContext:
    occurrence = Occurrence(request_id=request_id, identifier=0, type="US_SSN", row=0, start=9, end=20)
    asked = Context(occurrence=occurrence, asked_from="row", begin=0, border=8, until=20)
    return PlannedContext(id="T0000", context=asked, use=use)


def refused(folder: Path, uses: dict[str, Any], *, processing: str, splits: int = 0, bound: int = 10) -> Any:
    """The handles of a batch of which these requests, due in this order, are still processing."""
    workspace = Workspace(folder, "b")
    targets = tuple(context(id_, use) for id_, some in uses.items() for use in some)
    workspace.write(Targets(targets=targets, without_corpus=(), others=(), ordinary_rows=(), held_out_rows=()))
    store = SimpleNamespace(
        splits=lambda batch_id: splits, list=lambda **_: [SimpleNamespace(id=id_) for id_ in processing]
    )
    settings = SimpleNamespace(batch_halving=bound)
    return cast(
        Any, SimpleNamespace(batch=SimpleNamespace(id="b"), store=store, workspace=workspace, settings=settings)
    )


EDIT, UNSEEN, NONE, UNPROBED = ("edit",), ("unseen",), ("none", "copy"), ("unprobed",)


@pytest.mark.parametrize(
    ("uses", "processing", "wanted"),
    [
        pytest.param(dict.fromkeys("abcd", EDIT), "abcd", "abcd", id="four"),
        pytest.param(dict.fromkeys("abc", EDIT), "abc", "abc", id="the first half is the larger"),
        pytest.param(dict.fromkeys("ab", EDIT), "ba", "ba", id="by due date"),
        pytest.param({"a": EDIT}, "a", "", id="a single one cannot be split"),
        pytest.param({"a": EDIT, "b": NONE, "c": UNPROBED}, "abcd", "", id="the others hang on no edit"),
        pytest.param({"a": EDIT, "b": NONE, "c": (*UNSEEN, *NONE)}, "abcd", "ac", id="one context of it is enough"),
        pytest.param(dict.fromkeys("abc", EDIT), "ac", "ac", id="one was set aside meanwhile"),
    ],
)
def test_the_requests_that_the_edit_was_for_are_halved(
    tmp_path: Path, uses: dict[str, Any], processing: str, wanted: str
) -> None:
    found = halves(refused(tmp_path, uses, processing=processing))
    assert "".join(id_ for half in found for id_ in half) == wanted
    assert not found or 0 <= len(found[0]) - len(found[1]) <= 1


@pytest.mark.parametrize(("splits", "bound", "halved"), [(0, 0, False), (0, 1, True), (9, 10, True), (10, 10, False)])
def test_halving_ends_when_so_many_batches_were_split(tmp_path: Path, splits: int, bound: int, halved: bool) -> None:
    h = refused(tmp_path, dict.fromkeys("abcd", EDIT), processing="abcd", splits=splits, bound=bound)
    assert bool(halves(h)) is halved


@pytest.mark.parametrize("size", [2, 3, 7, 100, 1024])
def test_the_default_bound_isolates_one_request_of_a_thousand_whichever_it_is(tmp_path: Path, size: int) -> None:
    """As the store counts and takes lots: each split is one, and the lot with the one that breaks is split again."""
    from infra.settings import Settings

    bound = Settings.model_fields["batch_halving"].default
    for breaks in {0, 1, size // 2, size - 1}:
        lot, splits = [f"{number}" for number in range(size)], 0
        while len(lot) > 1:
            h = refused(tmp_path, dict.fromkeys(lot, EDIT), processing=cast(Any, lot), splits=splits, bound=bound)
            (lot,) = ([*half] for half in halves(h) if f"{breaks}" in half)
            splits += 1
        assert lot == [f"{breaks}"] and splits <= bound
