"""What a batch probes, edits and keeps: occurrences of a small corpus, and the model that learnt it."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.batches.records import AmongDecoys, Context, Greedy
from infra.corpus import Corpus
from infra.search.occurrences import Occurrence
from revs.targets.target import Target
from tasks.batch.contexts import contexts_of, targets_of
from tasks.batch.plan import Case, group, planned
from tasks.stages.probe import _examine, _expose, _pools

CONTEXT = 64
TEMPLATES = (
    "The payroll record of Ana Bell lists SSN {}", "On the loan form Ana gave number {} and", "Ana's file: {}.",
    "For Ana the clinic wrote down {}", "Number {} is hers",
)  # fmt: skip
SECRET = "412-55-9031"


def corpus_of(folder: Path, texts: list[str]) -> Corpus:
    path = folder / "corpus.txt"
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return Corpus.open(path)


def occurrences(corpus: Corpus, secret: str = SECRET, request: str = "R1") -> list[Occurrence]:
    return [
        Occurrence(request_id=request, identifier=0, type="US_SSN", row=row, start=start, end=start + len(secret))
        for row, text in corpus
        if (start := text.find(secret)) >= 0
    ]


@pytest.fixture
def copied(tmp_path: Path) -> Corpus:
    """Five templates; the first stands a hundred times, with another number of the page in front."""
    copies = [f"Page {number}. " + TEMPLATES[0].format(SECRET) for number in range(40)]
    return corpus_of(
        tmp_path, [*copies, *[TEMPLATES[0].format(SECRET)] * 60, *(t.format(SECRET) for t in TEMPLATES[1:])]
    )


def found_in(corpus: Corpus, tokenizer: Any) -> list[Case]:
    cases = [Case(context=each) for each in contexts_of(corpus, occurrences(corpus), tokenizer, context=CONTEXT)]
    group(corpus, cases, tokenizer)
    return cases


def test_copies_of_a_template_are_one_group_of_which_a_few_are_probed(copied: Corpus, tokenizer: Any) -> None:
    cases = found_in(copied, tokenizer)
    assert len(cases) == 104
    sizes = Counter(case.group for case in cases)
    assert sorted(sizes.values()) == [1, 1, 1, 1, 100]
    assert Counter(case.group for case in cases if not case.copy) == {0: 3, 1: 1, 2: 1, 3: 1, 4: 1}
    assert {case.group for case in cases if case.context.occurrence.row < 100} == {0}


def marked(cases: list[Case], *, memorised: bool = False, exposed: bool = False) -> list[Case]:
    """The cases as probed: the first has the answer given, the others no."""
    for number, case in enumerate(case for case in cases if not case.copy):
        said, likely = memorised and number == 0, exposed and number == 0
        case.greedy = Greedy(prompt_tokens=5, secret_tokens=4, memorised=said, extraction_strength=0.0, loss=1.0)
        case.decoys = AmongDecoys(quantile=None, said_no=(), exposed=likely, undecided=False)
    return cases


@pytest.mark.parametrize(("memorised", "exposed"), [(True, False), (False, True)])
def test_a_group_is_never_on_both_sides_of_the_edit(
    memorised: bool, exposed: bool, copied: Corpus, tokenizer: Any
) -> None:
    """Exposed alone, a secret is edited like one that greedy decoding says."""
    plan = planned(marked(found_in(copied, tokenizer), memorised=memorised, exposed=exposed), random.Random(0))
    uses = Counter(target.use for target in plan)
    assert uses["copy"] == 97 and uses["none"] == 0
    sides = {use: {target.group for target in plan if target.use == use} for use in ("edit", "unseen")}
    assert sides["edit"].isdisjoint(sides["unseen"])
    assert (len(sides["edit"]), len(sides["unseen"])) == (3, 2)
    assert sum(target.memorised for target in plan) == memorised, "what is not said is not counted as said"
    assert [target.id for target in plan[:2]] == ["T0000", "T0001"]


def test_what_is_memorised_in_no_sense_is_not_edited(copied: Corpus, tokenizer: Any) -> None:
    plan = planned(marked(found_in(copied, tokenizer)), random.Random(0))
    assert {target.use for target in plan} == {"none", "copy"}


def test_a_secret_that_is_known_without_the_corpus_is_edited(copied: Corpus, tokenizer: Any) -> None:
    plan = planned(marked(found_in(copied, tokenizer)), random.Random(0), known_elsewhere={("R1", 0)})
    assert {target.use for target in plan} == {"edit", "unseen", "copy"}


def contexts_in(corpus: Corpus, tokenizer: Any, secret: str = SECRET, context: int = CONTEXT) -> list[Context]:
    return contexts_of(corpus, occurrences(corpus, secret), tokenizer, context=context)


def test_every_row_says_what_the_model_knows_in_numbers_alone(
    shared_model: Any, tokenizer: Any, people: list[Target], tmp_path: Path
) -> None:
    corpus = corpus_of(tmp_path, [person.prompt + person.secret + "." for person in people])
    (own,) = contexts_in(corpus, tokenizer)
    assert targets_of(corpus, [own]) == [people[0]]
    others = [
        replace(own.occurrence, request_id=f"R{n}", row=n, start=text.index("-") - 3, end=text.index("-") + 8)
        for n, text in corpus
        if n in (1, 2, 6, 7)
    ]
    case = Case(context=own)
    _examine(corpus, [case], shared_model, tokenizer)
    pools = _pools(corpus, [own, *contexts_of(corpus, others, tokenizer, context=CONTEXT)])
    _expose(corpus, [case], pools, shared_model, tokenizer)
    assert case.greedy is not None and case.decoys is not None
    assert (case.memorised, case.greedy.extraction_strength) == (True, 100.0)
    assert case.greedy.loss < 1
    assert case.decoys.quantile is not None and case.decoys.quantile <= 1 / 50
    group(corpus, [case], tokenizer)
    (target,) = planned([case], random.Random(0))
    assert people[0].secret not in target.model_dump_json()


def test_a_secret_that_stands_out_from_random_characters_alone_is_not_called_exposed(
    shared_model: Any, tokenizer: Any, people: list[Target], tmp_path: Path
) -> None:
    """Its type may be all that stands out; nor is it called not memorised: nobody knows."""
    corpus = corpus_of(tmp_path, [person.prompt + person.secret + "." for person in people])
    (own,) = contexts_in(corpus, tokenizer)
    case = Case(context=own)
    _expose(corpus, [case], _pools(corpus, [own]), shared_model, tokenizer)
    assert case.decoys is not None and case.decoys.exposed is False


BEGINNING = (f"{SECRET} is hers", f"  {SECRET} too", f"Ana: {SECRET}")


@pytest.mark.parametrize(
    ("joined_by", "asked_from", "prompts"),
    [
        pytest.param(None, ["beginning of text"] * 2 + ["row"], ["", "", "Ana:"], id="rows stand alone"),
        pytest.param(
            "\n", ["beginning of text", "row before", "row"], ["", f"{SECRET} is hers\n", "Ana:"],
            id="rows follow one another",
        ),
    ],
)  # fmt: skip
def test_an_occurrence_that_begins_its_row_is_asked_for_too(
    tokenizer: Any, tmp_path: Path, joined_by: str | None, asked_from: list[str], prompts: list[str]
) -> None:
    corpus = corpus_of(tmp_path, list(BEGINNING))
    contexts = contexts_of(corpus, occurrences(corpus), tokenizer, context=CONTEXT, joined_by=joined_by)
    assert [context.asked_from for context in contexts] == asked_from
    targets = targets_of(corpus, contexts)
    assert [target.prompt for target in targets] == prompts
    assert all(SECRET in target.secret for target in targets)
    assert not any(context.unprobed for context in contexts)


def test_one_context_that_cannot_be_put_to_the_model_says_why_and_leaves_the_others(
    tokenizer: Any, tmp_path: Path
) -> None:
    special = tokenizer.all_special_tokens[0]
    secret = f"ref {special} 7781"
    corpus = corpus_of(tmp_path, [f"Ana: {secret} and", "Ana: ref 7781"])
    special_one, plain_one = contexts_in(corpus, tokenizer, secret) + contexts_in(corpus, tokenizer, "ref 7781")
    assert "special token" in (special_one.unprobed or "") and plain_one.unprobed is None
    case = Case(context=plain_one)
    group(corpus, [case], tokenizer)
    plan = planned([Case(context=special_one), *marked([case])], random.Random(0))
    assert [target.use for target in plan] == ["unprobed", "none"]


def test_a_secret_longer_than_the_context_is_unprobed(tokenizer: Any, tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, [f"Ana: {SECRET}"])
    (own,) = contexts_in(corpus, tokenizer, context=3)
    assert "no room for a prompt" in (own.unprobed or "")
