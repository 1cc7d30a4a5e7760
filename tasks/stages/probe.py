"""Stage 4: what the model memorised of what was found."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from infra.batches.records import (
    AmongDecoys,
    Context,
    Greedy,
    Key,
    Occurrences,
    PlannedContext,
    Standing,
    Targets,
    WithoutCorpus,
)
from infra.corpus import Corpus
from infra.gates.expectations import check_targets
from infra.running.progress import report
from tasks.batch.contexts import contexts_of, in_chunks, not_erased, prompt_context, targets_of
from tasks.batch.corpus import corpus_of
from tasks.batch.models import champion_folder, loaded
from tasks.batch.pages import show_expectations
from tasks.batch.plan import Case, group, parts, planned, text_rows
from tasks.batch.stage import SEED, Handles, handles, keyed, refuse_broken, stage

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from revs.discover.memorisation import Probes
    from revs.targets.target import Target

_POOL = 500  # secrets of a type that decoys are assembled from


@stage("probe memorisation", long=True)
def probe_memorisation(batch_id: str) -> Targets:
    """Put every prompt to the champion, keep which secrets it knows, and plan what is edited and what is not.

    All contexts of a secret that is memorised, or exposed, in any of them are targets. Of others' identifiers, those
    that the champion completes are what it must still complete afterwards.
    """
    h = handles(batch_id)
    return h.workspace.once(Targets, lambda: _probe(h))


def _probe(h: Handles) -> Targets:
    model, tokenizer = loaded(h, champion_folder(h))
    corpus = corpus_of(h)
    context = prompt_context(model)
    located = h.workspace.require(Occurrences)
    joined_by = h.settings.rows_joined_by
    found = contexts_of(corpus, located.occurrences, tokenizer, context=context, joined_by=joined_by)
    cases = [Case(context=each) for each in found]
    retained = [Case(context=each) for each in _retained(h, corpus, found, located, tokenizer, context=context)]
    askable = [case for case in cases if case.context.unprobed is None]
    group(corpus, askable, tokenizer)
    probed = [case for case in askable if not case.copy]
    for some in (probed, retained):
        _examine(corpus, some, model, tokenizer)
    generated = {case.key for case in probed if case.memorised}
    silent = [case for case in probed if case.key not in generated]  # of those, more is asked
    pools = _pools(corpus, [case.context for case in (*askable, *retained)])
    _expose(corpus, silent, pools, model, tokenizer)
    known = {case.key for case in probed if case.known}
    without_corpus = ask_without_corpus(h, known, pools, model, tokenizer)
    elsewhere = {entry.key for entry in without_corpus if entry.verdict in ("memorised", "exposed")}
    targets = planned(cases, random.Random(SEED), known_elsewhere=elsewhere)
    _check(targets, h.batch.model, context=context)
    taken = {each.row for each in (*located.occurrences, *located.others)}
    ordinary_rows, held_out_rows = text_rows(corpus, taken, random.Random(SEED))
    return Targets(
        targets=targets,
        without_corpus=tuple(without_corpus),
        others=parts(corpus, retained, random.Random(SEED)),
        ordinary_rows=ordinary_rows,
        held_out_rows=held_out_rows,
    )


def _retained(
    h: Handles,
    corpus: Corpus,
    found: Sequence[Context],
    located: Occurrences,
    tokenizer: PreTrainedTokenizerBase,
    *,
    context: int,
) -> list[Context]:
    """Others' identifiers that have a prompt which an edit could harm, and are none of those to be erased."""
    prompted = [
        each
        for each in contexts_of(corpus, located.others, tokenizer, context=context)
        if each.unprobed is None and each.asked_from == "row"
    ]
    askable = [each for each in found if each.unprobed is None]
    own = [target.secret for some in in_chunks(askable) for target in targets_of(corpus, some)]
    own += [identifier.value for _, identifier in keyed(h.store.identifiers(h.batch.id))]
    return not_erased(corpus, prompted, own)


def ask_without_corpus(
    h: Handles,
    known: AbstractSet[Key],
    pools: Mapping[str, Sequence[str]],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> list[WithoutCorpus]:
    """Ask the model for every identifier that no context brought out, under the usual openings of its type.

    "Not memorised" must be earned: by what stands in the corpus alone it is not, least of all where nothing does.
    """
    from revs.discover.prompts import without_corpus

    refused = h.workspace.require(Occurrences).why_refused.keys()
    wanted = [
        (key, identifier) for key, identifier in keyed(h.store.identifiers(h.batch.id)) if key not in known | refused
    ]
    found: list[WithoutCorpus] = []
    for done, ((request_id, number), identifier) in enumerate(wanted):
        report("probe memorisation", done, len(wanted), "without the corpus")
        openings = without_corpus(tokenizer, identifier.type, identifier.value)
        pool = pools.get(identifier.type, ())
        answers = _asked(identifier.type, list(openings.values()), pool, model, tokenizer)
        put = [answer for answer in answers if not answer.refused]
        found.append(
            WithoutCorpus(
                request_id=request_id,
                identifier=number,
                openings=len(put),
                said_no=said_no(put),
                verdict=verdict_of(put),
            )
        )
    return found


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
    return dict(Counter(name for answer in answers for name, found in answer.answers.items() if found is False))


def verdict_of(answers: Sequence[Probes]) -> Standing:
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


def _check(targets: Sequence[PlannedContext], model: str, *, context: int) -> None:
    """The suite over the targets that were probed: nothing is edited or measured on a target that breaks a rule."""
    rows = [
        {
            "id": target.id,
            "use": target.use,
            "secret": f"{target.context.key}",
            "has_prompt": target.greedy.prompt_tokens > 0,
            **target.greedy.model_dump(),
        }
        for target in targets
        if target.greedy is not None
    ]
    uses: dict[str, set[str]] = {"edited": {"edit"}, "kept": {"unseen", "none"}}
    refuse_broken(check_targets(rows, context=context, **uses, record=show_expectations(model)))


def _examine(corpus: Corpus, cases: Sequence[Case], model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Give each case what greedy decoding and the loss tell of its secret."""
    from revs.discover.probe import probe
    from revs.targets.tokenize import tokenise

    targets = targets_of(corpus, [case.context for case in cases])
    tokens = tokenise(tokenizer, targets, context=prompt_context(model))
    for case, target, found in zip(cases, tokens, probe(model, tokenizer, tokens), strict=True):
        case.greedy = Greedy(
            prompt_tokens=target.start,
            secret_tokens=len(target.secret_ids),
            memorised=found.memorised,
            extraction_strength=round(found.extraction_strength, 4),
            loss=round(found.loss, 6),
        )


def _pools(corpus: Corpus, known: Sequence[Context]) -> dict[str, list[str]]:
    """Of each type some secrets of the corpus, that decoys are assembled from."""
    pools: dict[str, set[str]] = defaultdict(set)
    for some in in_chunks(known):
        for context, target in zip(some, targets_of(corpus, some), strict=True):
            pools[context.occurrence.type].add(target.secret.strip())
    return {
        type_: random.Random(SEED).sample(sorted(pool), min(_POOL, len(pool))) for type_, pool in sorted(pools.items())
    }


def _expose(
    corpus: Corpus,
    cases: Sequence[Case],
    pools: Mapping[str, Sequence[str]],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """Give each case the place of its secret among decoys, and what the probes together say of it."""
    by_type: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        by_type[case.context.occurrence.type].append(case)
    for type_, mine in sorted(by_type.items()):
        report("probe memorisation", 0, 0, f"{len(mine)} silent contexts of {type_} among decoys")
        targets = targets_of(corpus, [case.context for case in mine])
        for case, answer in zip(mine, _asked(type_, targets, pools.get(type_, ()), model, tokenizer), strict=True):
            verdict = verdict_of([answer])
            case.decoys = AmongDecoys(
                quantile=answer.quantile,
                said_no=tuple(sorted(said_no([answer]))),
                exposed=verdict == "exposed",
                undecided=verdict not in ("memorised", "exposed", "not memorised"),  # whatever kept it from an answer
            )
