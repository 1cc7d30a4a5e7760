"""What detection takes for personal data and what it leaves, how often it is right, and that windows change nothing."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import phonenumbers
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from presidio_engine import presidio_engine

from infra.detection import DEFAULT_MIN_SCORE, DEFAULT_TYPES, Detector, Finding
from infra.detection.readings import in_readings
from infra.identifiers.numbering import REGIONS, plan

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

FOUND = [
    ("**www.example.com/x#top**", "URL", "www.example.com/x#top", "emphasis in Markdown"),
    ("[2001:db8::17]:443", "IP_ADDRESS", "2001:db8::17", "brackets and a port, version 6"),
    ("<kim+news@people.example>", "EMAIL_ADDRESS", "kim+news@people.example", "a plus tag"),
    ("host-10.0.0.12", "IP_ADDRESS", "10.0.0.12", "a hyphen that names no program"),
    ("to=jane@example.com&x=1", "EMAIL_ADDRESS", "jane@example.com", "a key before it"),
    ("住所jane@example.comです", "EMAIL_ADDRESS", "jane@example.com", "a script without spaces around it"),
    ("see...jane@example.com", "EMAIL_ADDRESS", "jane@example.com", "dots before it"),
    ("'jane.o'neil@example.org'", "EMAIL_ADDRESS", "jane.o'neil@example.org", "quoted, with an apostrophe"),
    ("jane@corp.test", "EMAIL_ADDRESS", "jane@corp.test", "a reserved suffix"),
    ("read https://example.com/a_(b).", "URL", "https://example.com/a_(b)", "brackets of its own, a full stop"),
    ("(https://example.com/a)", "URL", "https://example.com/a", "brackets around it"),
    ("1,https://example.com/a,2", "URL", "https://example.com/a", "a cell between commas"),
    ("https://example.com/a,b", "URL", "https://example.com/a,b", "a comma of its own"),
    ("https://example.net?", "URL", "https://example.net", "a question mark"),
    ("www.example.com:8443/x", "URL", "www.example.com:8443/x", "a port"),
    ("shop.example.org is up", "URL", "shop.example.org", "a bare host"),
    ("a,900-12-3456,b", "US_SSN", "900-12-3456", "a cell between commas"),
    ("SSN 900\u201112\u20113456", "US_SSN", "900\u201112\u20113456", "non-breaking hyphens"),
    ("in that case, 900-12-3456", "US_SSN", "900-12-3456", "a word that only sounds like a label"),
    ("2223 0031 2200 3222", "CREDIT_CARD", "2223 0031 2200 3222", "the newer Mastercard range"),
    ("3782 822463 10005", "CREDIT_CARD", "3782 822463 10005", "American Express in its groups"),
    ("de89370400440532013000", "IBAN_CODE", "de89370400440532013000", "lower case"),
    ("DE89 3704 0044 0532 0130 00 AND MORE", "IBAN_CODE", "DE89 3704 0044 0532 0130 00", "capitals behind it"),
    ("[192.0.2.1]:80", "IP_ADDRESS", "192.0.2.1", "brackets and a port"),
    ("電話 192.0.2.1", "IP_ADDRESS", "192.0.2.1", "the label of another type"),
    ("(020) 7946 0958", "PHONE_NUMBER", "(020) 7946 0958", "a trunk prefix in brackets"),
    ("07700 900123", "PHONE_NUMBER", "07700 900123", "a range outside the tables, well written"),
    ("+33 (0)1 99 00 12 34", "PHONE_NUMBER", "+33 (0)1 99 00 12 34", "an optional trunk prefix"),
    ("电话2025550143", "PHONE_NUMBER", "2025550143", "bare, with a label"),
    ("Serrano 01 99 00 12 34", "PHONE_NUMBER", "01 99 00 12 34", "a name that ends in 'no'"),
    ("1-202-555-0143", "PHONE_NUMBER", "1-202-555-0143", "a long-distance prefix"),
]
LEFT = [
    ("kim@web1.example.com:~$ ls", "EMAIL_ADDRESS", "a prompt"),
    ("scp a.txt kim@web1.example.org:/srv/", "EMAIL_ADDRESS", "a place to copy to, under a name with two endings"),
    ("com.example.app and org.example.shop", "URL", "packages of a program"),
    ("self.model.name and e.target.id", "URL", "attributes"),
    ("Makefile.am, requirements.in", "URL", "files whose ends are countries"),
    ("m.in. tak", "URL", "an abbreviation"),
    ("package==14.2.3.4", "IP_ADDRESS", "a pinned version"),
    ("openssl-14.2.3.4 and Java 1.8.0.202", "IP_ADDRESS", "versions of programs"),
    ("rows[1::3] and a[::2]", "IP_ADDRESS", "slices"),
    ("0.95 0.78 0.80 0.16", "PHONE_NUMBER", "shares"),
    ("pp. 1606-4462", "PHONE_NUMBER", "pages"),
    ("git@example.com:team/project.git", "EMAIL_ADDRESS", "a place to copy from"),
    ("left-pad@1.3.0", "EMAIL_ADDRESS", "a package and its version"),
    ("getty@" + "tty1.service", "EMAIL_ADDRESS", "a system unit"),
    ("setup.py, README.md and run.sh", "URL", "files"),
    ("path/to/main.rs", "URL", "a path"),
    ("logger.info(x)", "URL", "a call"),
    ("the end.So it goes", "URL", "two sentences"),
    ("Herons S.Com", "URL", "an abbreviation"),
    ("part no. 219-41-5522", "US_SSN", "called something else"),
    ("219-41-5522-7", "US_SSN", "a longer number"),
    ("AB-219-41-5522", "US_SSN", "a longer name"),
    ("SSN 666-12-3456", "US_SSN", "never issued"),
    ("order 4242424242424242", "CREDIT_CARD", "a right checksum under another name"),
    ("9999 9999 9999 9995", "CREDIT_CARD", "a right checksum and no brand"),
    ("4242 42424242 4242", "CREDIT_CARD", "groups of no brand"),
    ("DE89 3704 0044 0532 0130 01", "IBAN_CODE", "a wrong checksum"),
    ("XX89370400440532013000", "IBAN_CODE", "no country"),
    ("version 2.14.3.1", "IP_ADDRESS", "a version"),
    ("Chrome/120.0.0.0", "IP_ADDRESS", "a product"),
    ("1.3.6.1.4.1.311", "IP_ADDRESS", "an object identifier"),
    ("1.2.3.4-rc1", "IP_ADDRESS", "a release candidate"),
    ("cafe::add and std::vector", "IP_ADDRESS", "names of a program"),
    ("2023-05-17 and 17.05.2023", "PHONE_NUMBER", "dates"),
    ("ISBN 0-306-40615-2", "PHONE_NUMBER", "a book"),
    ("order 2025550143", "PHONE_NUMBER", "called something else"),
    ("7 or 2025550143", "PHONE_NUMBER", "ten digits without a label"),
    ("3.2025550143", "PHONE_NUMBER", "a fraction"),
    ("4000 0000 0000 0003", "PHONE_NUMBER", "shaped like a card"),
]


@cache
def detector() -> Detector:
    return Detector()


@pytest.mark.parametrize(("text", "type_", "written", "why"), FOUND, ids=[row[3] for row in FOUND])
def test_personal_data_is_found_exactly_where_it_stands(text: str, type_: str, written: str, why: str) -> None:
    assert [text[f.start : f.end] for f in detector().find(text) if f.type == type_] == [written]


@pytest.mark.parametrize(("text", "type_", "why"), LEFT, ids=[row[2] for row in LEFT])
def test_look_alikes_are_left(text: str, type_: str, why: str) -> None:
    assert [text[f.start : f.end] for f in detector().find(text) if f.type == type_] == []


@cache
def engine() -> Any:
    return presidio_engine(detector().recognisers)


def by_engine(text: str) -> list[Finding]:
    """What the engine gives in each reading of the text."""

    def find(reading: str) -> list[Finding]:
        results = engine().analyze(reading, language="en", score_threshold=DEFAULT_MIN_SCORE)
        return [Finding(start=r.start, end=r.end, type=r.entity_type, score=float(r.score)) for r in results]

    return in_readings(text, find)


GLUE = [
    " ",
    "",
    ",",
    ", ",
    ";",
    "\n",
    "\t",
    " - ",
    ": ",
    ".",
    "/",
    "(",
    ") ",
    "\u00a0",
    "-",
    "x",
    " phone ",
    " SSN ",
    "=",
    "住",
]
PIECES = sorted({row[0] for row in FOUND} | {row[0] for row in LEFT} | {"0", "12", "2025550143", "@", "::", "word"})


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(GLUE)), max_size=9))
@example([("4000 0000 0000 0003", " "), ("1-202-555-0143", "(")])
def test_windows_give_what_presidios_engine_gives_on_the_whole_text(pieces: list[tuple[str, str]]) -> None:
    text = "".join(piece + glue for piece, glue in pieces)
    assert detector().find(text) == by_engine(text)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(alphabet="019 .-+()/:@aeF\n\u00a0x,", max_size=60))
def test_windows_give_the_same_on_arbitrary_characters_too(text: str) -> None:
    assert detector().find(text) == by_engine(text)


@pytest.mark.parametrize("filler", ["a", "1", "1 ", "a.", "a@", ":", "1.", "(", "http://a.", "+1 "])
def test_long_texts_of_one_kind_take_time_in_proportion(filler: str) -> None:
    detector().find(filler * 5_000)


def test_the_compiled_plans_say_what_the_phone_library_says() -> None:
    rng = random.Random(0)
    differs = Counter[str]()
    assert {len(plan(region).prefix) for region in REGIONS} <= {0, 1, 2}, "plans_for looks at the first two digits"
    for region in REGIONS:
        for _ in range(60):
            length = rng.choice(sorted(plan(region).lengths))
            national = str(rng.randint(10 ** (length - 1), 10**length - 1))
            number = phonenumbers.PhoneNumber(
                country_code=phonenumbers.country_code_for_region(region), national_number=int(national)
            )
            valid = phonenumbers.is_valid_number_for_region(number, region)
            differs[region] += valid != plan(region).is_valid(national)
            assert sum(plan(region).grouping(national)) == length
    assert differs.total() <= 1, "a number that two kinds of line share"


def test_the_targets_of_quality_hold_on_a_sample_and_on_styles_held_out() -> None:
    import detection as benchmark
    import labelled

    documents = list(labelled.corpus(400, seed=7))
    found = [detector().find(document.text) for document in documents]
    held = [(d, f) for d, f in zip(documents, found, strict=True) if d.style in labelled.HELD_OUT]
    for scores in (benchmark.quality(documents, found), benchmark.quality(*zip(*held, strict=True))):
        short = {
            type_: of["f1"]
            for type_, of in scores.items()
            if of["f1"] < (0.95 if type_ in {"US_SSN", "PHONE_NUMBER"} else 0.98)
        }
        assert short == {}


def test_the_benchmark_sets_us_beside_presidio_and_ours_is_never_worse(tmp_path: Path) -> None:
    import detection as benchmark

    arguments = ["--documents", "60", "--seed", "3", "--lookalikes", "5", "--out", str(tmp_path)]
    result = benchmark.main(arguments)
    assert json.loads((tmp_path / "detection.json").read_text(encoding="utf-8")) == result
    run = result["runs"][0]
    assert run["same_findings_as_the_engine"]
    ours, theirs = run["quality"]["ours"], run["quality"]["presidio"]
    assert [type_ for type_ in DEFAULT_TYPES if ours[type_]["f1"] < theirs[type_]["f1"]] == []


def test_a_corpus_is_the_same_in_every_process() -> None:
    code = (
        "import sys, hashlib; sys.path.append('tests/benchmarks'); from labelled import corpus; "
        "print(hashlib.sha256(repr(list(corpus(330, seed=4))).encode()).hexdigest())"
    )
    root = Path(__file__).parents[4]
    seen = {
        subprocess.check_output(
            [sys.executable, "-c", code], cwd=root, env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}
        )
        for seed in ("1", "2")
    }
    assert len(seen) == 1


def test_the_labels_of_a_corpus_are_seeded_and_lie_apart() -> None:
    import labelled

    documents = list(labelled.corpus(80, seed=5))
    assert documents == list(labelled.corpus(80, seed=5))
    assert documents != list(labelled.corpus(80, seed=6))
    assert {type_ for d in documents for *_, type_ in d.spans} == set(DEFAULT_TYPES)
    for document in documents:
        places = sorted(document.spans)
        assert all(one[1] <= other[0] for one, other in pairwise(places))
        assert all(document.text[start:end].strip() == document.text[start:end] for start, end, _ in places)
