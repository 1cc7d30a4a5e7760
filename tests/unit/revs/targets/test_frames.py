"""Frames and own words: what a prompt shares with others, and what is one person's."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from revs.targets.decoys import lookalike
from revs.targets.frames import Frames
from revs.targets.target import Target

ADA = Target(prompt="The record of Ada Lo lists SSN", secret=" 900-12-3456")
BO = Target(prompt="Intake form: Bo Ek with SSN", secret=" 911-22-3333")
OTHERS = [
    Target(prompt="The record of Cy Poe lists phone", secret=" 201-555-2222"),
    Target(prompt="Intake form: Di Foe with phone", secret=" 202-555-2922"),
    Target(prompt="The record of Ed Moe lists phone", secret=" 203-555-7222"),
    Target(prompt="Intake form: Flo Joe with phone", secret=" 204-555-7292"),
]


def frames() -> Frames:
    return Frames([ADA, BO], OTHERS, text=["ordinary words"])


def test_own_are_the_words_that_stand_in_no_other_secrets_prompts() -> None:
    assert frames().own(ADA) == {"Ada", "Lo"}
    assert frames().own(OTHERS[3]) == {"Flo", "Joe"}


def test_words_of_one_persons_several_prompts_are_its_own() -> None:
    again = Target(prompt="Intake form: Ada Lo with SSN", secret="900-12-3456")
    assert Frames([ADA, again, BO], OTHERS).own(ADA) == {"Ada", "Lo"}


def test_a_context_of_nobody_has_the_frame_without_the_person() -> None:
    found = frames().of_nobody(ADA, copies=20, seed=0)
    assert len(found) == 20
    for context in found:
        words = context.prompt.split(" ")
        assert words[:3] == ["The", "record", "of"] and words[5:] == ["lists", "SSN"]
        assert not {"Ada", "Lo"} & set(words)
        assert context.secret != ADA.secret and len(context.secret) == len(ADA.secret)


def test_of_one_person_alone_half_of_all_words_give_way() -> None:
    found = Frames([ADA], text=["ordinary words"]).of_nobody(ADA, copies=100, seed=0)
    kept = [
        new == old for context in found
        for new, old in zip(context.prompt.split(" "), ADA.prompt.split(" "), strict=True)
    ]  # fmt: skip
    assert 0.4 < sum(kept) / len(kept) < 0.6


def test_without_any_text_there_are_still_words_of_nobody() -> None:
    assert all(context.prompt != ADA.prompt for context in Frames([ADA]).of_nobody(ADA, copies=20, seed=0))


def test_a_person_stands_in_the_frames_of_others_each_once() -> None:
    found = frames().reframed(ADA, copies=9, seed=0)
    assert {target.prompt for target in found} == {
        "Intake form: Ada Lo with SSN", "The record of Ada Lo lists phone", "Intake form: Ada Lo with phone"
    }  # fmt: skip
    assert len(found) == 3
    assert {target.secret for target in found} == {ADA.secret}
    assert len(frames().reframed(ADA, copies=2, seed=0)) == 2
    assert Frames([ADA]).reframed(ADA, copies=2, seed=0) == []


def test_beginnings_end_in_front_of_the_first_own_word() -> None:
    assert frames().beginnings() == ["Intake form:", "The record of"]


def test_a_text_tells_of_a_target_by_its_secret_or_by_all_own_words() -> None:
    assert frames().tells(ADA, "anything 900-12-3456.")
    assert frames().tells(ADA, "Lo, Ada")
    assert not frames().tells(ADA, "Ada Ek 911-22-3333")


def test_parts_of_words_and_lone_punctuation_tell_nothing() -> None:
    short = Target(prompt="The record of A : lists SSN", secret=" 900-12-3456")
    assert not Frames([short, BO], OTHERS).tells(short, "an apple: the record of nobody")
    assert Frames([short, BO], OTHERS).tells(short, "the record of A.")


def test_where_no_word_is_known_to_be_a_persons_own_texts_begin_anyhow() -> None:
    assert Frames([ADA]).beginnings() == [""]


@given(st.integers(0, 1000), st.permutations(OTHERS))
def test_the_order_of_the_others_does_not_matter(seed: int, others: list[Target]) -> None:
    one, other = frames(), Frames([ADA, BO], others, text=["ordinary words"])
    assert one.of_nobody(ADA, copies=3, seed=seed) == other.of_nobody(ADA, copies=3, seed=seed)
    assert one.beginnings() == other.beginnings()


def test_what_the_secrets_of_a_form_share_stays_in_a_lookalike() -> None:
    pool = [other.secret for other in OTHERS] + [ADA.secret, BO.secret]
    for seed in range(20):
        area, film, line = lookalike(OTHERS[0].secret, pool, Random(seed)).strip().split("-")
        assert film == "555" and area != "201" and line != "2222"
        assert lookalike(ADA.secret, pool, Random(seed)).split("-")[1] != "12", "two others are too few to share"


def test_letters_are_exchanged_and_the_domain_stays() -> None:
    found = lookalike(" ada7@example.com", [" bo7@example.com"] * 9, Random(0))
    assert found.endswith("@example.com") and not set("ada7") & set(found.partition("@")[0])
