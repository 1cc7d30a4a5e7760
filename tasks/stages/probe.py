"""Stage 4: what the model memorised of what was found."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

from infra.corpus import Corpus
from infra.gates.expectations import check_targets
from infra.requests import Identifier
from infra.running.progress import report
from tasks.batch.models import champion_of
from tasks.batch.plan import group, parts, planned, secret_of, text_rows
from tasks.batch.records import Probed
from tasks.batch.stage import Handles, handles, refuse_broken, stage
from tasks.batch.targets import Row, in_chunks, not_erased, prompt_context, targets_of, with_cuts
from tasks.stages.search import corpus_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from revs.discover.memorisation import Probes
    from revs.targets.target import Target

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
    prompted = [
        row
        for row in with_cuts(corpus, others, tokenizer, context=context)
        if "unprobed" not in row and row["asked_from"] == "row"
    ]
    own = [target.secret for some in in_chunks(askable) for target in targets_of(corpus, some)]
    own += [identifier.value for some in h.store.identifiers(h.batch.id).values() for identifier in some]
    retained = not_erased(corpus, prompted, own)
    group(corpus, askable, tokenizer)
    probed = [row for row in askable if not row["copy"]]
    for rows in (probed, retained):
        _examine(corpus, rows, model, tokenizer)
    silent = _silent(probed)
    known = {secret_of(row) for row in probed} - {secret_of(row) for row in silent}
    pools = _pools(corpus, [*askable, *retained])
    _expose(corpus, silent, pools, model, tokenizer)
    known |= {secret_of(row) for row in silent if row["exposed"]}
    without_corpus = ask_without_corpus(h, known, pools, model, tokenizer)
    said = {secret_of(entry) for entry in without_corpus if entry["verdict"] in ("memorised", "exposed")}
    targets = planned(found, random.Random(SEED), known_elsewhere=said)
    _check(targets, context=context)
    return {
        "targets": targets,
        "without_corpus": without_corpus,
        "others": parts(corpus, retained, random.Random(SEED)),
        **text_rows(corpus, {row["row"] for row in (*occurrences, *others)}, random.Random(SEED)),
    }


def _silent(rows: Sequence[Row]) -> list[Row]:
    """The contexts of secrets that greedy decoding gives in none of them: of those, more is asked."""
    said = {secret_of(row) for row in rows if row["memorised"]}
    for row in rows:
        row.update(decoy_quantile=None, exposed=False, undecided=False)
    return [row for row in rows if secret_of(row) not in said]


def ask_without_corpus(
    h: Handles,
    known: AbstractSet[tuple[str, int]],
    pools: Mapping[str, Sequence[str]],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> list[Row]:
    """Ask the model for every identifier that no context brought out, under the usual openings of its type.

    "Not memorised" must be earned: by what stands in the corpus alone it is not, least of all where nothing does.
    """
    refused = {secret_of(entry) for entry in h.workspace.require("occurrences")["refused"]}
    wanted = [
        (request_id, number, identifier)
        for request_id, identifiers in h.store.identifiers(h.batch.id).items()
        for number, identifier in enumerate(identifiers)
        if (request_id, number) not in known | refused
    ]
    found: list[Row] = []
    for done, (request_id, number, identifier) in enumerate(wanted):
        report("probe memorisation", done, len(wanted), "without the corpus")
        answer = _without_corpus(identifier, pools.get(identifier.type, ()), model, tokenizer)
        found.append({"request_id": request_id, "identifier": number, **answer})
    return found


def _without_corpus(
    identifier: Identifier, pool: Sequence[str], model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> Row:
    """Under how many openings the identifier was asked for, and how many of each probe's answers were no."""
    from revs.discover.prompts import without_corpus

    asked = without_corpus(tokenizer, identifier.type, identifier.value)
    answers = _asked(identifier.type, list(asked.values()), pool, model, tokenizer)
    put = [answer for answer in answers if not answer.refused]
    return {"openings": len(put), "said_no": said_no(put), "verdict": verdict_of(put)}


def _asked(
    type_: str,
    targets: Sequence[Target],
    pool: Sequence[str],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> list[Probes]:
    """What the probes say of secrets of one type; where the corpus has too few decoys, among invented ones."""
    from revs.discover.memorisation import probes
    from revs.targets.decoys import invented

    context = prompt_context(model)
    answers = probes(model, tokenizer, targets, context=context, pool=pool, seed=SEED)
    secrets = {t.secret.strip() for t, a in zip(targets, answers, strict=True) if a.decoys_of == "characters"}
    again = [place for place, target in enumerate(targets) if target.secret.strip() in secrets]
    if again and (more := invented(type_, seed=SEED)):
        some = [targets[place] for place in again]
        found = probes(model, tokenizer, some, context=context, pool=[*pool, *more], seed=SEED)
        for place, answer in zip(again, found, strict=True):
            answers[place] = answer
    return answers


def said_no(answers: Sequence[Probes]) -> dict[str, int]:
    """By probe, how many of its answers were a clear no."""
    return dict(Counter(name for answer in answers for name, said in answer.answers.items() if said is False))


def verdict_of(answers: Sequence[Probes]) -> str:
    """The verdict from all prompts of one secret.

    A secret that stands out from decoys of random characters alone may owe it to its type: that decides nothing.
    """
    from revs.discover.memorisation import overall

    verdicts = [
        "undecided" if answer.verdict == "exposed" and answer.decoys_of == "characters" else answer.verdict
        for answer in answers
    ]
    worst = overall(answers)
    return "undecided" if worst == "exposed" and "exposed" not in verdicts else worst


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
    from revs.discover.probe import probe
    from revs.targets.tokenize import tokenise

    tokens = tokenise(tokenizer, targets_of(corpus, rows), context=prompt_context(model))
    for row, target, found in zip(rows, tokens, probe(model, tokenizer, tokens), strict=True):
        row.update(
            prompt_tokens=target.start,
            secret_tokens=len(target.secret_ids),
            memorised=found.memorised,
            extraction_strength=round(found.extraction_strength, 4),
            loss=round(found.loss, 6),
        )


def _pools(corpus: Corpus, known: Sequence[Row]) -> dict[str, list[str]]:
    """Of each type some secrets of the corpus, that decoys are assembled from."""
    pools: dict[str, set[str]] = defaultdict(set)
    for some in in_chunks(known):
        for row, target in zip(some, targets_of(corpus, some), strict=True):
            pools[row["type"]].add(target.secret.strip())
    return {
        type_: random.Random(SEED).sample(sorted(pool), min(_POOL, len(pool))) for type_, pool in sorted(pools.items())
    }


def _expose(
    corpus: Corpus,
    rows: Sequence[Row],
    pools: Mapping[str, Sequence[str]],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """Give each row the place of its secret among decoys, and what the probes together say of it."""
    for type_ in sorted({row["type"] for row in rows}):
        mine = [row for row in rows if row["type"] == type_]
        report("probe memorisation", 0, 0, f"{len(mine)} silent contexts of {type_} among decoys")
        found = _asked(type_, targets_of(corpus, mine), pools.get(type_, ()), model, tokenizer)
        for row, answer in zip(mine, found, strict=True):
            verdict = verdict_of([answer])
            row.update(
                decoy_quantile=answer.quantile,
                said_no=sorted(said_no([answer])),
                exposed=verdict == "exposed",
                undecided=verdict not in ("memorised", "exposed", "not memorised"),  # whatever kept it from an answer
            )
