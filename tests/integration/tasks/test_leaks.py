"""What a model says unasked: seeded samples, and the audit that counts the personal data in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from infra.corpus import Corpus
from infra.detection import Detector, DetectorConfig
from revs.discover.sample import Sample, Sampling, beginnings, continuations
from revs.errors import BadInput
from revs.targets.target import Target
from tasks.corpus.leaks import find_leaks, said_by_the_model

FEW = Sampling(count=7, length=8, batch_size=3, seed=3)


def texts(model: Any, tokenizer: Any, sampling: Sampling = FEW, **options: Any) -> list[str]:
    return [sample.text for sample in continuations(model, tokenizer, sampling, **options)]


def test_the_seed_decides_the_samples_and_the_callers_random_numbers_stay(shared_model: Any, tokenizer: Any) -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    first = texts(shared_model, tokenizer)
    assert torch.equal(torch.rand(3), expected)
    assert texts(shared_model, tokenizer) == first
    assert texts(shared_model, tokenizer, Sampling(count=7, length=8, batch_size=3, seed=4)) != first
    assert len(first) == 7 and len(set(first)) > 3
    assert len(set(first[:3]) & set(first[3:6])) < 3, "every batch draws anew"


def test_prompts_take_turns_and_what_follows_goes_on_from_them(
    shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    """At a temperature near 0 the likeliest token is drawn: the memorised secret."""
    prompts = [person.prompt for person in people[:3]]
    sampling = Sampling(count=5, length=10, temperature=1e-3)
    found = list(continuations(shared_model, tokenizer, sampling, prompts=prompts))
    assert [sample.prompt for sample in found] == [prompts[n % 3] for n in range(5)]
    assert all(sample.text.startswith(people[n % 3].secret[:4]) for n, sample in enumerate(found))
    assert "412" not in repr(found)


def test_a_prompt_longer_than_the_context_keeps_its_end(
    shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    long = "word " * 300 + people[0].prompt
    (found,) = continuations(shared_model, tokenizer, Sampling(count=1, length=12, temperature=1e-3), prompts=[long])
    assert isinstance(found.text, str) and found.prompt == long


REFUSED = [
    ({"count": 0}, "count 0 is below 1"),
    ({"temperature": 0.0}, "temperature 0.0 is not a number > 0"),
    ({"length": 64}, "fewer tokens than the model's context, 64"),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED)
def test_what_is_refused(settings: dict[str, Any], message: str, shared_model: Any, tokenizer: Any) -> None:
    with pytest.raises(BadInput, match=message):
        texts(shared_model, tokenizer, Sampling(**settings))
    with pytest.raises(BadInput, match="from 0 prompts"):
        texts(shared_model, tokenizer, prompts=[])


def test_without_a_token_to_begin_with_prompts_are_needed(shared_model: Any, new_tokenizer: Any) -> None:
    bare = new_tokenizer(bos=False)
    bare.bos_token = None
    assert len(texts(shared_model, bare)) == 7, "the end token begins a text, as in GPT-2"
    bare.eos_token = None
    with pytest.raises(BadInput, match="no token to begin a text with"):
        texts(shared_model, bare)


def test_beginnings_of_texts_are_short_and_come_once(tokenizer: Any, ordinary: list[str]) -> None:
    found = beginnings([*ordinary, " ", ordinary[0]], tokenizer=tokenizer)
    assert len(found) == len(ordinary)
    assert all(text.startswith(prompt) for text, prompt in zip(ordinary, found, strict=True))


def test_only_what_the_model_said_or_completed_counts() -> None:
    detector = Detector(DetectorConfig(types=("EMAIL_ADDRESS", "US_SSN")))
    whole = Sample(prompt="Write to ana@example.com or", text=" bo@example.org today")
    completed = Sample(prompt="Write to cy", text="@example.net")
    labelled = Sample(prompt="her social security number is", text=" 412-55-9031.")
    assert [i.value for i in said_by_the_model(whole, detector)] == ["bo@example.org"]
    assert [i.value for i in said_by_the_model(completed, detector)] == ["cy@example.net"]
    assert [(i.type, i.value) for i in said_by_the_model(labelled, detector)] == [("US_SSN", "412-55-9031")]


def test_the_audit_counts_by_type_and_tells_what_was_learnt_from_what_was_made_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = (" dee.ellis@example.com.", " Dee.Ellis@example.com, and", " flint@example.org", " SSN 412-55-9031", " none")
    monkeypatch.setattr(
        "revs.discover.sample.continuations",
        lambda *_args, **_options: (Sample(prompt="Mail", text=text) for text in said),
    )
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("Write to dee.ellis@example.com.\nNumber 412559031 on file.\n", encoding="utf-8")
    model: Any = None
    leaks = find_leaks(
        model,
        model,
        sampling=FEW,
        detector=Detector(DetectorConfig(types=("EMAIL_ADDRESS", "US_SSN"))),
        corpus=Corpus.open(corpus),
    )
    mail, number = leaks.types
    assert (leaks.sampled, leaks.with_findings) == (5, 4)
    assert (mail.type, mail.findings, mail.distinct, mail.in_corpus) == ("EMAIL_ADDRESS", 3, 2, 1)
    assert (number.type, number.findings, number.distinct, number.in_corpus) == ("US_SSN", 1, 1, 1)
    assert len(mail.samples) == 2, "the most frequent first"
    assert not any(part in repr(leaks) for part in ("ellis", "example", "412", "9031"))


def test_without_a_corpus_nothing_is_said_of_it(shared_model: Any, tokenizer: Any, people: list[Target]) -> None:
    leaks = find_leaks(
        shared_model, tokenizer, detector=Detector(DetectorConfig(types=("EMAIL_ADDRESS",))),
        prompts=[people[4].prompt], sampling=Sampling(count=2, length=14, temperature=1e-3),
    )  # fmt: skip
    (found,) = leaks.types
    assert (found.findings, found.in_corpus, found.not_sought) == (2, None, 0)
    assert leaks.with_findings == 2


@pytest.mark.parametrize("seed", [2**63, -(2**63) - 1, 99999999999999999999])
def test_a_seed_that_no_generator_takes_is_named(seed: int) -> None:
    with pytest.raises(BadInput, match=f"seed {seed} does not fit into 64 bits"):
        Sampling(seed=seed)
