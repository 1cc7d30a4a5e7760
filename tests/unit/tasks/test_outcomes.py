"""What becomes of an identifier, and of a request: as done as the least done of its identifiers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from infra.batches.records import (
    AmongDecoys,
    Context,
    CorpusRead,
    Detections,
    Occurrences,
    PlannedContext,
    Refused,
    Targets,
    WithoutCorpus,
)
from infra.batches.workspace import Workspace
from infra.requests import Identifier, IdentifierOutcome, closed_as
from infra.requests.outcomes import described
from infra.search.occurrences import Occurrence
from tasks.batch.outcomes import outcomes

MAIL = Identifier(type="EMAIL_ADDRESS", value="tansy.heath@example.com")
SSN = Identifier(type="US_SSN", value="412-55-9031")


def context(identifier: int, use: Any, *, undecided: bool = False, **more: Any) -> PlannedContext:
    occurrence = Occurrence(request_id="R", identifier=identifier, type="US_SSN", row=0, start=9, end=20)
    decoys = AmongDecoys(quantile=0.5, said_no=("greedy",), exposed=False, undecided=undecided)
    return PlannedContext(
        id="T0000",
        context=Context(**{"occurrence": occurrence, "asked_from": "row", "begin": 0, "border": 8, "until": 20} | more),
        use=use,
        decoys=decoys if use == "none" else None,
    )


def asked(identifier: int, verdict: Any = "not memorised", openings: int = 4) -> WithoutCorpus:
    said_no = {"greedy": openings} if openings else {}
    return WithoutCorpus(request_id="R", identifier=identifier, openings=openings, said_no=said_no, verdict=verdict)


def planned(*targets: PlannedContext, without_corpus: Sequence[WithoutCorpus] = ()) -> Targets:
    return Targets(targets=targets, without_corpus=tuple(without_corpus), others=(), ordinary_rows=(), held_out_rows=())


def located(*refused: Refused) -> Occurrences:
    corpus = CorpusRead(name="corpus 9f86d081884c", digest="hmac-sha256:0", rows=40, ignored=(), unread=())
    return Occurrences(corpus=corpus, occurrences=(), others=(), missing=(), refused=refused)


def batch(
    folder: Path,
    *identifiers: Identifier,
    rows: Sequence[PlannedContext],
    without_corpus: Sequence[WithoutCorpus] = (),
    refused: Sequence[Refused] = (),
) -> Any:
    workspace = Workspace(folder, "b")
    workspace.write(located(*refused))
    workspace.write(planned(*rows, without_corpus=without_corpus))
    store = SimpleNamespace(identifiers=lambda batch_id: {"R": identifiers})
    return cast(Any, SimpleNamespace(batch=SimpleNamespace(id="b"), store=store, workspace=workspace))


EDITED, COPY, NONE = context(0, "edit"), context(0, "copy"), context(0, "none")
UNPROBED = context(0, "unprobed", unprobed="its secret holds a special token")


@pytest.mark.parametrize(
    ("rows", "without_corpus", "result", "kind"),
    [
        pytest.param([EDITED, COPY], [], "passed", "edited", id="memorised, and the edit passed"),
        pytest.param(
            [context(0, "unseen")], [], "passed", "edited", id="only held out: the others of its group are edited"
        ),
        pytest.param([EDITED], [], "refused", "memorised", id="memorised, and no setting passed"),
        pytest.param([NONE, COPY], [asked(0)], "passed", "not_memorised", id="every probe said no"),
        pytest.param(
            [NONE], [asked(0)], "refused", "not_memorised", id="a refused edit of others changes nothing here"
        ),
        pytest.param([UNPROBED], [], "passed", "not_probed", id="never asked is not: not memorised"),
        pytest.param([NONE, UNPROBED], [asked(0)], "passed", "not_probed", id="one context could not be asked"),
        pytest.param([EDITED, UNPROBED], [], "passed", "not_probed", id="edited, but one context could not be asked"),
        pytest.param(
            [context(0, "none", undecided=True)], [asked(0)], "passed", "not_probed", id="too few decoys to tell"
        ),
        pytest.param([NONE], [asked(0, "undecided")], "passed", "not_probed", id="undecided without the corpus"),
        pytest.param(
            [NONE],
            [asked(0, "not probed", openings=0)],
            "passed",
            "not_probed",
            id="its row fits into the context, no opening in front of it does",
        ),
        pytest.param([NONE], [], "passed", "not_probed", id="without the corpus it was never asked for"),
        pytest.param([], [asked(0)], "passed", "not_found", id="stands nowhere"),
        pytest.param(
            [], [asked(0, "memorised")], "passed", "memorised", id="stands nowhere, and is generated all the same"
        ),
    ],
)
def test_every_identifier_has_the_outcome_that_was_earned(
    tmp_path: Path, rows: list[Any], without_corpus: list[Any], result: Any, kind: str
) -> None:
    (found,) = outcomes(batch(tmp_path, SSN, rows=rows, without_corpus=without_corpus), result)
    assert (found.request_id, found.number, found.type, found.kind) == ("R", 0, "US_SSN", kind)
    assert described(found.kind, found.detail)


def test_an_identifier_that_cannot_be_sought_leaves_the_others_alone(tmp_path: Path) -> None:
    refused = [Refused(request_id="R", identifier=1, reason="has 1 character")]
    h = batch(tmp_path, MAIL, Identifier(type="CUSTOM", value="x", number=1), rows=[EDITED], refused=refused)
    assert [found.kind for found in outcomes(h, "passed")] == ["edited", "refused"]


def outcome(kind: Any, number: int = 0, **detail: Any) -> IdentifierOutcome:
    return IdentifierOutcome(request_id="R", number=number, type="US_SSN", kind=kind, detail=detail)


@pytest.mark.parametrize(
    ("batch_status", "kinds", "status"),
    [
        ("completed", ["edited"], "completed"),
        ("completed", ["edited", "not_memorised"], "completed"),
        ("completed", ["edited", "not_found"], "failed"),
        ("completed", ["not_probed"], "failed"),
        ("completed", ["edited", "refused"], "failed"),
        ("completed", ["memorised"], "failed"),
        ("completed", [], "failed"),  # nothing is known of it
        ("waiting", ["edited"], "failed"),
        ("refused", ["memorised"], "failed"),
    ],
)
def test_a_request_is_only_as_done_as_its_least_done_identifier(
    batch_status: str, kinds: list[str], status: str
) -> None:
    found = closed_as(batch_status, [outcome(kind, number) for number, kind in enumerate(kinds)])
    assert found[0] == status
    assert (found[1] is None) == (status == "completed"), "who has to look at it is told why"


def test_the_reason_names_each_open_identifier_by_number_and_type_and_nothing_settled() -> None:
    found = [outcome("edited", 0, edited=2), outcome("not_found", 1, rows=40, unread="2 rows")]
    assert str(closed_as("completed", found)[1]) == (
        "identifier 1 (US_SSN): not found in 40 rows of the corpus, in what could be read of them (2 rows could not "
        "be), check it"
    )


def test_the_report_counts_no_occurrence_as_probed_that_could_not_be_put_to_the_model(tmp_path: Path) -> None:
    from tasks.batch.evidence import _notes

    workspace = Workspace(tmp_path, "b")
    workspace.write(located())
    workspace.write(Detections(seen=(), proposed=()))
    begins: Any = {"asked_from": "beginning of text", "border": 0}
    plan = planned(context(0, "none", **begins), context(0, "unprobed", unprobed="it is too long", **begins))
    notes = _notes(cast(Any, SimpleNamespace(workspace=workspace)), plan)
    assert "1 occurrences begin their row; they were probed from the beginning of text" in notes
