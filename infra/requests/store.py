"""Deletion requests and batches: the one place that knows what state each of them is in.

The states and the steps between them: `lifecycle`. What people decide: `decisions`. How a batch ends, and what that
does to its requests: `closing`. Every method is one transaction.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable, Collection, Sequence
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import select

from infra.requests import (
    addresses,
    clock,
    drop,
    erased,
    rotation,
    rows,
    sealing,
    shredding,
    submissions,
    tables,
)  # fmt: skip
from infra.requests.case_store import CaseStore
from infra.requests.clock import Timeliness
from infra.requests.drop import DropStatus
from infra.requests.erased import ErasedList
from infra.requests.intake import parse_requests, read_source
from infra.requests.records import (
    Entry,
    Intake,
    RequestStatus,
    RequestView,
)
from revs.errors import BadInput


class RequestStore(CaseStore):
    """The request store of one installation. Safe to use from several threads and processes at once.

    Every method raises `OperationFailed` when the database fails, and then has stored nothing.
    """

    def add_file(
        self,
        path: Path | str,
        *,
        model: str,
        generation: str = "",
        again: bool = False,
        models: Collection[str] | None = None,
    ) -> Intake:
        """Take the requests of a file; "-" is standard input. The same file again adds nothing.

        A malformed request is stored as rejected. A demand that already waits or is processed is stored as a duplicate
        and gives the first one its dates where they are earlier; it goes on in its place if the first one is rejected.

        Args:
            path: JSON, one request a line, an array, or spread over lines; or CSV, one request a group of rows.
            model: The model of requests that name none.
            generation: What the model was trained as: the same file for another generation is a new submission.
            again: Take the file as a new submission, whether it was handed in before or not.
            models: The models that there are; requests for others are malformed. None: any.

        Raises:
            BadInput: The file is missing, unreadable, empty or in another format, or there can be no such model.
        """
        if again:
            generation = rows.new_request_id()
        return self.add_bytes(read_source(path), name=str(path), model=model, generation=generation, models=models)

    def add_bytes(
        self,
        data: bytes,
        *,
        name: str,
        model: str,
        generation: str | Callable[[str], str] = "",
        models: Collection[str] | None = None,
        must_name: bool = False,
    ) -> Intake:
        """Take what a request file holds; otherwise like `add_file`.

        Args:
            data: The bytes of the file.
            name: What errors call it; its suffix tells the format.
            model: As of `add_file`.
            generation: As of `add_file`; or what tells it of a model, and is asked for each that the file names.
            models: As of `add_file`.
            must_name: Whether a request that names no model is malformed; one of OpenDSR, which cannot name any, is for
                all models then.
        """
        return self._submit(
            data, name=name, model=model, generation=generation, models=models, must_name=must_name
        )  # fmt: skip

    def add(
        self,
        *requests: dict[str, Any],
        model: str,
        by: str | None = None,
        verified: bool = True,
        models: Collection[str] | None = None,
        generation: str = "",
        must_name: bool = False,
    ) -> Intake:
        """Take requests, given as the JSON objects that lines of a request file hold; otherwise like `add_file`.

        Args:
            *requests: The fields of each; all are stored, or none is.
            model: The model that those are meant for which name none.
            by: Who hands it in; they cannot verify it.
            verified: Whether it is known that who asks is who they say; else it waits for `verify`.
            models: As of `add_file`.
            generation: As of `add_file`; any text that tells this submission from an equal one.
            must_name: As of `add_bytes`.
        """
        try:
            lines = "\n".join(json.dumps(request, sort_keys=True) for request in requests)
        except (TypeError, ValueError, RecursionError):  # the error's text may show a value
            raise BadInput("the request is not a JSON object; give the fields a line of a request file has") from None
        return self._submit(
            lines.encode(), name="request.jsonl", model=model, generation=generation, models=models, by=by,
            verified=verified, must_name=must_name,
        )  # fmt: skip

    def list(
        self,
        *,
        model: str | None = None,
        status: RequestStatus | None = None,
        batch_id: str | None = None,
        case_id: str | None = None,
    ) -> builtins.list[RequestView]:
        """Return the requests that match, due first. `batch_id` also finds those the batch has sent back."""
        query = rows.matching(tables.Request, model=model, status=status, case_id=case_id).order_by(*rows.DUE_FIRST)
        if batch_id is not None:
            members = select(tables.Member.request_id).where(tables.Member.batch_id == batch_id)
            query = query.where(tables.Request.id.in_(members))
        return self._database.read(lambda session: [rows.view(row) for row in session.scalars(query)])

    def get(self, request_id: str) -> RequestView:
        """Return one request.

        Raises:
            BadInput: There is none with this id.
        """
        return self._database.read(lambda session: rows.view(rows.request_row(session, request_id)))

    def timeliness(self, today: date | None = None) -> builtins.list[Timeliness]:
        """Return how every request that is still to be answered stands on a day, the most urgent first."""
        day = today or self._clock.today()
        return self._database.read(lambda session: clock.timeliness(session, self._clock, day))

    def drop_statuses(self, since: date | None = None) -> builtins.list[DropStatus]:
        """Return what the DROP is to be told of its requests, received on a day or later; None: of all."""
        return self._database.read(lambda session: drop.statuses(session, self._clock, since))

    def destroy_expired(self, *, days: int) -> int:
        """Destroy the payloads of requests that were rejected more than so many days ago; return how many there were.

        What waits for a human, as failed, is kept: the person was promised an answer, and it is needed for that.
        """
        before = rows.now() - timedelta(days=days)
        if not self._database.read(lambda session: session.scalars(shredding.expired(before).limit(1)).first()):
            return 0
        count = self._database.write(lambda session: shredding.expire(session, before))
        shredding.settle(self._database)
        return count

    def expire_digests(self, *, days: int) -> int:
        """Delete the digests of what was erased more than so many days ago; return how many there were."""
        before = self._clock.today() - timedelta(days=days)
        gone = self._database.write(lambda session: erased.expire(session, before))
        if gone:
            self._database.vacuum()
        return gone

    def erased(self, model: str | None = None) -> ErasedList:
        """Return the digests that were kept of what was erased from a model; None: from any."""
        return self._database.read(lambda session: erased.listed(session, self._vault, model))

    def drop_digests(self) -> int:
        """Delete all digests of what was erased and return how many there were; the log keeps that it was done."""
        return erased.drop(self._database)

    def keep_address(self, address: str) -> str:
        """Put the address of a corpus or another text on record and return the reference that may stand elsewhere."""
        return self._database.write(lambda session: addresses.keep(session, self._vault, address))

    def address(self, reference: str) -> str:
        """Return the address of a reference; what is no reference is itself the address.

        Raises:
            BadInput: A reference that is not on record here.
        """
        return self._database.read(lambda session: addresses.find(session, reference))

    def must_rotate(self) -> bool:
        """Whether what is stored is under an earlier deployment key than the one in use."""
        return self._database.read(lambda session: rotation.is_due(session, self._key_checks))

    def payload_problems(self) -> builtins.list[str]:
        """Say which payloads are missing, were to be destroyed and are there, do not open, or are another request's."""
        return self._database.read(lambda session: [*sealing.problems(session, self._vault)])

    def examine_payloads(self) -> None:
        """Make sure that every payload opens and is the one of its request, before another key comes into use.

        Raises:
            OperationFailed: One is not; it is named.
        """
        self._database.read(lambda session: rotation.examine(session, self._vault))

    def rotate(self) -> tuple[int, bool]:
        """Bring every payload to the deployment key in use; nothing else is stored until that was done.

        Returns:
            How many payloads there are, and whether no byte of what was wrapped under the earlier key is left in the
            files: another process may keep the database busy.

        Raises:
            OperationFailed: A batch is open, or a payload does not open.
        """
        count = self._database.write(
            lambda session: rotation.bring_to_key_in_use(session, self._vault, self._key_checks)
        )
        return count, self._database.vacuum()

    def close(self) -> None:
        """Give back database connections; the store opens new ones when it is used again."""
        self._database.close()

    def _submit(
        self,
        data: bytes,
        *,
        name: str,
        model: str,
        generation: str | Callable[[str], str],
        models: Collection[str] | None,
        by: str | None = None,
        verified: bool = True,
        must_name: bool = False,
    ) -> Intake:
        if "@" in model:  # of an alias, or of somebody's address: it is not shown
            raise BadInput("the name of a registered model holds no @; give the name alone, such as 'demo'")
        if "/" in model or ":" in model or not any(map(str.isalnum, model)):
            raise BadInput(f"{model!r} cannot be the name of a registered model; give the name alone, such as 'demo'")
        parse = partial(
            parse_requests, data, name=name, model=model, clock=self._clock, models=models, must_name=must_name
        )
        entries: Sequence[Entry] | None = None
        if callable(generation):
            entries = parse()
            named = {entry.demand.model for entry in entries if entry.demand} or {model}
            generation = " ".join(map(generation, sorted(named))).strip()
        marks = submissions.fingerprints(self._vault, data, model, generation)
        known = self._database.read(lambda session: submissions.find(session, marks))
        if known is not None:
            return known
        sealed = submissions.sealed(self._vault, parse() if entries is None else entries)
        return self._database.write(
            lambda session: (
                submissions.find(session, marks)
                or submissions.store(
                    session, self._vault, marks[0], sealed, model=model, clock=self._clock, by=by, verified=verified
                )
            )
        )
