"""Stage 4: what the model memorised of what was found."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

from infra.corpus import Corpus
from infra.expectations import check_targets
from infra.requests import Identifier
from tasks.models import champion_of
from tasks.places import Row, in_chunks, probeable, prompt_context, targets_of, with_cuts
from tasks.planning import group, parts, planned, secret_of, text_rows
from tasks.records import Probed
from tasks.search import corpus_of
from tasks.stage import Handles, handles, refuse_broken, stage

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SEED = 0
_POOL = 500  # secrets of a type that decoys are assembled from


@stage("probe memorisation")
def probe_memorisation(batch_id: str) -> Probed:
    """Put every prompt to the champion, keep which secrets it knows, and plan what is edited and what is not.

    All contexts of a secret that is memorised, or exposed, in any of them are targets. Of others' identifiers, those
    that the champion completes are what it must still complete afterwards.
    """
    h = handles(batch_id)
    record = h.workspace.once("targets", lambda: _probe(h))
    targets = record["targets"]
    return Probed(
        found=len(targets),
        memorised=sum(target["memorised"] for target in targets),
        exposed=sum(target["exposed"] and not target["memorised"] for target in targets),
        edited=sum(target["use"] == "edit" for target in targets),
        unseen=sum(target["use"] == "unseen" for target in targets),
        unprobed=sum(target["use"] == "unprobed" for target in targets),
        retained=sum(other["memorised"] for other in record["others"]),
    )


def _probe(h: Handles) -> dict[str, Any]:
    model, tokenizer = champion_of(h)
    corpus = corpus_of(h)
    context = prompt_context(model)
    occurrences, others = h.workspace.require("occurrences")["occurrences"], h.workspace.require("detections")["others"]
    joined_by = h.settings.rows_joined_by
    found = with_cuts(corpus, occurrences, tokenizer, context=context, joined_by=joined_by)
    askable = [row for row in found if "unprobed" not in row]
    # Others' identifiers that begin their rows have no prompt that an edit could harm.
    retained = [
        row
        for row in with_cuts(corpus, others, tokenizer, context=context)
        if "unprobed" not in row and row["asked_from"] == "row"
    ]
    group(corpus, askable, tokenizer)
    probed = [row for row in askable if not row["copy"]]
    for rows in (probed, retained):
        _examine(corpus, rows, model, tokenizer)
    _expose(corpus, probed, [*askable, *retained], model, tokenizer)
    known = {secret_of(row) for row in probed if row["memorised"] or row["exposed"]}
    without_corpus = ask_without_corpus(h, known, model, tokenizer)
    said = {secret_of(entry) for entry in without_corpus if entry["memorised"]}
    targets = planned(found, random.Random(SEED), known_elsewhere=said)
    _check(targets, context=context)
    return {
        "targets": targets,
        "without_corpus": without_corpus,
        "others": parts(corpus, retained, random.Random(SEED)),
        **text_rows(corpus, {row["row"] for row in (*occurrences, *others)}, random.Random(SEED)),
    }


def ask_without_corpus(
    h: Handles, known: AbstractSet[tuple[str, int]], model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> list[Row]:
    """Ask the model for every identifier that no context brought out, under the usual openings of its type.

    "Not memorised" must be earned: by what stands in the corpus alone it is not, least of all where nothing does.
    """
    found: list[Row] = []
    refused = {secret_of(entry) for entry in h.workspace.require("occurrences")["refused"]}
    for request_id, identifiers in h.store.identifiers(h.batch.id).items():
        for number, identifier in enumerate(identifiers):
            if (request_id, number) not in known | refused:
                answer = _without_corpus(identifier, model, tokenizer)
                found.append({"request_id": request_id, "identifier": number, **answer})
    return found


def _without_corpus(identifier: Identifier, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Row:
    """How many openings could be put to the model, and whether any of them brings the identifier out."""
    from revs.probing import probe
    from revs.prompting import prompted

    fit = probeable(tokenizer, prompted([(identifier.type, identifier.value)]), context=prompt_context(model))
    said = sum(answer.memorised for answer in probe(model, tokenizer, fit))
    return {"prompts": len(fit), "said_no": len(fit) - said, "memorised": said > 0}


def _check(targets: Sequence[Row], *, context: int) -> None:
    """The suite over the targets that were probed: nothing is edited or measured on a target that breaks a rule."""
    rows = [
        {**row, "secret": f"{row['request_id']} {row['identifier']}", "has_prompt": row["prompt_tokens"] > 0}
        for row in targets
        if row["use"] not in ("copy", "unprobed")
    ]
    refuse_broken(check_targets(rows, context=context, edited={"edit"}, kept={"unseen", "none"}))


def _examine(corpus: Corpus, rows: Sequence[Row], model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Give each row what greedy decoding and the loss tell of its secret."""
    from revs.probing import probe
    from revs.targets import tokenise

    tokens = tokenise(tokenizer, targets_of(corpus, rows), context=prompt_context(model))
    for row, target, found in zip(rows, tokens, probe(model, tokenizer, tokens), strict=True):
        row.update(
            prompt_tokens=target.start,
            secret_tokens=len(target.secret_ids),
            memorised=found.memorised,
            extraction_strength=round(found.extraction_strength, 4),
            loss=round(found.loss, 6),
        )


def _expose(
    corpus: Corpus,
    rows: Sequence[Row],
    known: Sequence[Row],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """Give each row the place of its secret among decoys, assembled from the `known` secrets of its type."""
    from revs.exposure import decoy_quantiles, exposed
    from revs.targets import tokenise

    pools: dict[str, set[str]] = defaultdict(set)
    for some in in_chunks(known):
        for row, target in zip(some, targets_of(corpus, some), strict=True):
            pools[row["type"]].add(target.secret.strip())
    for type_ in sorted({row["type"] for row in rows}):
        mine = [row for row in rows if row["type"] == type_]
        targets = targets_of(corpus, mine)
        tokens = tokenise(tokenizer, targets, context=prompt_context(model))
        pool = random.Random(SEED).sample(sorted(pools[type_]), min(_POOL, len(pools[type_])))
        places = decoy_quantiles(model, tokenizer, targets, tokens, pool=pool, seed=SEED)
        for row, place in zip(mine, places, strict=True):
            row.update(decoy_quantile=place, exposed=exposed(place))
