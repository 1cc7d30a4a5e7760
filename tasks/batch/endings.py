"""What a run says of the batches that it ended: its result, or one line where a human is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from infra.requests.outcomes import plural
from infra.settings import load_settings
from revs.errors import BadInput, GateRefused
from tasks.batch.results import Closed, Ended, Problem, Processed, Reported, Verdict
from tasks.batch.stage import open_store

_NAMED_AT_MOST = 3


def ended(closed: Closed, verdict: Verdict | None, report: str) -> Ended:
    """A closed batch with its report, and why it needs a human: a gate refused, too little to judge, none completed.

    One that was split needs none: its requests go on.
    """
    return Ended(batch=Reported(**asdict(closed), report=report), problem=_problem(closed, verdict, report))


def ended_without_work(batch_id: str, error: BadInput) -> Ended:
    """A batch that a stage has closed before there was anything to report; one that is still open is not ended.

    Raises:
        BadInput: `error`, where the batch is open: the next run takes it up.
    """
    batch = open_store(load_settings()).batch(batch_id)
    if batch.status == "open":
        raise error
    reported = Reported(
        batch_id=batch_id, status=batch.status, completed=0, handed_on=0, parent=batch.parent, report=""
    )
    return Ended(batch=reported, problem=Problem(kind=BadInput, what=str(error)))


def processed(done: Sequence[Ended]) -> Processed | None:
    """The result of a run; None where it found nothing to do.

    Raises:
        GateRefused: a gate refused a batch, or there was too little to judge one.
        BadInput: not one request of a batch could be completed.
    """
    if not done:
        return None
    batches = tuple(each.batch for each in done)
    first = asdict(batches[0])
    counts = {what: sum(getattr(batch, what) for batch in batches) for what in ("completed", "handed_on")}
    problems = [each.problem for each in done if each.problem]
    if problems:
        kind = GateRefused if any(each.kind is GateRefused for each in problems) else BadInput
        raise kind(_one_line(problems, len(batches), **counts))
    return Processed(**first | counts | {"batches": batches})


def _problem(closed: Closed, verdict: Verdict | None, report: str) -> Problem | None:
    batch = f"batch {closed.batch_id}"
    if closed.status == "refused" and verdict is not None:
        return Problem(
            kind=GateRefused,
            what=f"{batch} was refused by {', '.join(verdict.failed_gates)}",
            more=f"; the champion is untouched and the requests wait for a human: read {report}",
        )
    if closed.status == "waiting" and verdict is not None:
        return Problem(
            kind=GateRefused,
            what=f"{batch} has insufficient evidence: {', '.join(verdict.unjudged)} could not be measured"
            if verdict.unjudged
            else f"{batch} passed every gate and waits for approval (REVS_APPROVAL=always)",
            more=f"; the candidate is registered and waits for a human, the champion is untouched: read {report}, then "
            f"'revs promote' it{' or give the corpus more contexts' if verdict.unjudged else ''}",
        )
    if closed.handed_on and not closed.completed and not closed.tried_again:
        return Problem(
            kind=BadInput,
            what=f"none of the {closed.handed_on} requests of {batch} could be completed",
            more=f", and each waits for a human: read {report}; if identifiers were not found, check --corpus, then "
            "'revs requests retry'",
        )
    return None


def _one_line(problems: Sequence[Problem], batches: int, *, completed: int, handed_on: int) -> str:
    if batches == 1:
        return problems[0].what + problems[0].more
    named = "; ".join(problem.what for problem in problems[:_NAMED_AT_MOST])
    more = f"; and {len(problems) - _NAMED_AT_MOST} more" if len(problems) > _NAMED_AT_MOST else ""
    return (
        f"{batches} batches, {plural(completed, 'request')} completed, {handed_on} handed to a human: {named}{more}; "
        f"'revs requests list --status failed' shows why, the reports are in {load_settings().home / 'reports'}"
    )
