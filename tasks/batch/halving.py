"""Halving: how a batch that every setting was refused for is split, until the request that breaks the gates is alone.

Each half is a batch of its own, with its own search, gates and evidence. One request that breaks them is alone after
log2(n) splits of n requests, and each split makes two batches of one: so `REVS_BATCH_HALVING` bounds both how far one
case is isolated and how many batches come of one. Once so many were split, what still waits is tried as it is.
"""

from __future__ import annotations

from infra.batches.records import Targets
from tasks.batch.stage import Handles


def halves(h: Handles) -> tuple[tuple[str, ...], ...]:
    """The requests of a refused batch that the edit was for, in two halves by due date; none where halving ends.

    The others hang on no edit. Of a single one nothing can be split off: a human gets it, with the evidence.
    """
    if h.store.splits(h.batch.id) >= h.settings.batch_halving:
        return ()
    targets = h.workspace.require(Targets).targets
    edited = {target.context.occurrence.request_id for target in targets if target.use in ("edit", "unseen")}
    wanted = [view.id for view in h.store.list(batch_id=h.batch.id, status="processing") if view.id in edited]
    middle = (len(wanted) + 1) // 2
    return (tuple(wanted[:middle]), tuple(wanted[middle:])) if len(wanted) > 1 else ()
