"""The audit log as others may see it: line by line, one root that stands for all of it, and proofs against that root.

A line is the canonical JSON of an event (`facts.canonical`: keys sorted, ASCII, no blanks) with its MAC. The lines in
the order of their ids are the leaves of a Merkle tree (`merkle`): who has an export computes the root from it alone,
and who has a root checks a single line without the others. Neither needs a key.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from infra.requests import chain, facts, merkle, tables
from infra.requests.chain import Head
from revs.errors import BadInput

_ROWS = 1000  # read at once


def lines(session: Session, *, upto: int | None = None) -> Iterator[tuple[int, str | None, bytes]]:
    """Return id, MAC and line of each event, in order; up to one of them, which is among them."""
    query = select(*tables.Event.__table__.columns).order_by(tables.Event.id)
    if upto is not None:
        query = query.where(tables.Event.id <= upto)
    for event in session.execute(query.execution_options(yield_per=_ROWS)):
        yield event.id, event.mac, facts.canonical(chain.said_by(event) | {"mac": event.mac})


def head(session: Session) -> Head | None:
    """Return the end of the log with the root over all lines; None where it is no longer on record."""
    found = chain.head_of(session)
    if found is None:
        return None
    tree = merkle.Tree()
    for _, _, line in lines(session, upto=found.count):
        tree.add(merkle.leaf(line))
    return Head(count=found.count, mac=found.mac, size=tree.size, root=tree.root.hex())


def problems(session: Session, heads: Iterable[Head]) -> Iterator[str]:
    """Say which ends that were noted elsewhere have another root than the log had then: it does not begin so any more.

    An end whose event is not there or is another one is not looked at: that is said by `chain.problems`.
    """
    noted: dict[tuple[int, str | None], set[str]] = defaultdict(set)
    for each in heads:
        if each.root is not None:
            noted[each.count, each.mac].add(each.root)
    if not noted:
        return
    tree = merkle.Tree()
    for id_, mac, line in lines(session, upto=max(count for count, _ in noted)):
        tree.add(merkle.leaf(line))
        if (id_, mac) in noted and noted[id_, mac] != {tree.root.hex()}:
            yield f"the log up to event {id_} has another root than when its end was noted elsewhere"


def prove(session: Session, event_id: int, *, upto: int | None = None) -> dict[str, Any]:
    """Return the proof that an event is in the log, as it ended at event `upto`; None: as it ends now.

    Raises:
        BadInput: There is no such event.
    """
    ids, leaves, mine = [], [], ""
    for id_, _, line in lines(session, upto=upto):
        ids.append(id_)
        leaves.append(merkle.leaf(line))
        mine = line.decode() if id_ == event_id else mine
    if not mine:
        raise BadInput(f"there is no event {event_id} in the log of {len(ids)} events; 'revs log export' shows them")
    index = ids.index(event_id)
    path = [each.hex() for each in merkle.inclusion(leaves, index)]
    return {
        "proves": "inclusion",
        "event": mine,
        "index": index,
        "size": len(leaves),
        "root": merkle.root(leaves).hex(),
        "path": path,
    }


def prove_beginning(session: Session, count: int, *, upto: int | None = None) -> dict[str, Any]:
    """Return the proof that the log as it ended at event `count` is the beginning of that which ends at `upto`.

    Raises:
        BadInput: The log has no such event.
    """
    ids, leaves = [], []
    for id_, _, line in lines(session, upto=upto):
        ids.append(id_)
        leaves.append(merkle.leaf(line))
    if count not in ids:
        raise BadInput(f"the log of {len(ids)} events did not end at event {count}; name the count of an end of it")
    first = ids.index(count) + 1
    return {
        "proves": "consistency",
        "first": first,
        "first_root": merkle.root(leaves[:first]).hex(),
        "size": len(leaves),
        "root": merkle.root(leaves).hex(),
        "path": [each.hex() for each in merkle.consistency(leaves, first)],
    }


def parsed(path: Path) -> dict[str, Any]:
    """Return the proof in a file.

    Raises:
        BadInput: It cannot be read, or holds no proof.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); name a file of 'revs log prove'") from None
    except (ValueError, RecursionError):
        raise _no_proof() from None
    if not isinstance(found, dict):
        raise _no_proof()
    return found


def holds(proof: Mapping[str, Any]) -> bool:
    """Whether a proof shows what it says; that its roots are those that were noted has to be looked at besides.

    Raises:
        BadInput: It is no proof.
    """
    if any(type(proof.get(name, 0)) is not int for name in ("size", "index", "first")):
        raise _no_proof()
    try:
        path = [bytes.fromhex(each) for each in proof["path"]]
        root, size = bytes.fromhex(proof["root"]), int(proof["size"])
        if proof["proves"] == "inclusion":
            leaf = merkle.leaf(proof["event"].encode())
            return merkle.root_from_inclusion(leaf, int(proof["index"]), size, path) == root
        if proof["proves"] == "consistency":
            first, first_root = int(proof["first"]), bytes.fromhex(proof["first_root"])
            return merkle.is_consistent(first, first_root, size, root, path)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise _no_proof() from None
    raise _no_proof()


def is_against(proof: Mapping[str, Any], heads: Iterable[Head]) -> bool:
    """Whether a proof is about the trees of noted ends: a root alone does not tell how large its tree is."""
    noted = {(each.size, each.root) for each in heads}
    asked = [("size", "root"), ("first", "first_root")] if proof["proves"] == "consistency" else [("size", "root")]
    return all((proof[size], proof[root]) in noted for size, root in asked)


def _no_proof() -> BadInput:
    return BadInput("the file is no proof; make one with 'revs log prove'")
