"""The same search for everything an identifier may be written as, for names of files, and for credentials."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import Cli, written
from leaks import Scanner

sys.path.append(str(Path(__file__).parent.parent))  # for disguises.py

from disguises import disguises

if TYPE_CHECKING:
    from infra.settings import Settings

pytestmark = pytest.mark.slow

PEOPLE = {
    "EMAIL_ADDRESS": "quenby.wren71@example.com",
    "US_SSN": "219-47-6183",
    "PHONE_NUMBER": "415-555-0168",
    "CREDIT_CARD": "4111 1111 1111 1111",
    "IBAN_CODE": "DE89 3704 0044 0532 0130 00",
    "IP_ADDRESS": "198.51.100.73",
    "URL": "https://www.example.com/~quenbywren71/cv",
    "PERSON": "Quenby Wrenfallow",
}
NAMED_AFTER = "osgythwold88@example.com"
FILE_NAME = f"{NAMED_AFTER}.txt"
FOLDER_NAME = "records of 219-47-6184"
SECRET = "s3kr1tOfTheStore"
ONE_OF_A_TYPE, SOME_OF_A_TYPE = slice(16, 17), slice(None, None, 23)
"""The disguises that are handed in as requests: probing takes its time."""


@pytest.fixture
def inputs(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """What a company hands in: these files hold everything, in every disguise."""
    folder, handed_in = tmp_path / "inputs", getattr(request, "param", ONE_OF_A_TYPE)
    (folder / "corpus" / FOLDER_NAME).mkdir(parents=True)
    # One sentence for all of a type: contexts that repeat another are probed a few times, and all of them recorded.
    rows = [
        f"The {type_.lower()} that is on file is {form} as far as we know."
        for type_, value in PEOPLE.items()
        for _, form in disguises(type_, value)
    ]
    lines = [json.dumps({"text": row}) for row in rows]
    written(folder / "corpus" / FOLDER_NAME / "rows.jsonl", "\n".join(lines) + "\n")
    ordinary = [f"Row {number} is of no interest to anybody." for number in range(120)]
    written(folder / "corpus" / FILE_NAME, "\n".join(ordinary) + "\n")
    written(folder / "corpus" / f"{NAMED_AFTER}.zip", b"PK\x03\x04 not read, and named")
    demands = [
        {"subject": f"{PEOPLE['PERSON']} {number}", "received": "2026-11-02",
         "identifiers": [{"type": type_, "value": form}]}
        for type_, value in PEOPLE.items()
        for number, (_, form) in enumerate([*disguises(type_, value)][handed_in])
    ]  # fmt: skip
    written(folder / "requests.jsonl", "\n".join(map(json.dumps, demands)) + "\n{half of " + PEOPLE["US_SSN"])
    return folder


@pytest.fixture
def scanner() -> Scanner:
    """Looks for every identifier in every disguise, as text and in every encoding."""
    forms = [
        ("as written", form)
        for type_, value in PEOPLE.items()
        for _, form in disguises(type_, value)
        if not (form.isdigit() and len(form) < 9)  # so few digits stand in a digest by chance
    ]
    return Scanner.of([
        *PEOPLE.items(), *forms, ("file name", FILE_NAME), ("file name", NAMED_AFTER),
        ("folder name", FOLDER_NAME), ("credential", SECRET),
    ])  # fmt: skip


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param(ONE_OF_A_TYPE, id="one of a type"),
        pytest.param(SOME_OF_A_TYPE, id="some of a type", marks=pytest.mark.long),
    ],
    indirect=True,
)
def test_no_disguise_of_an_identifier_and_no_name_of_a_file_is_left_anywhere(
    cli: Cli, settings: Settings, tiny: Path, inputs: Path, scanner: Scanner
) -> None:
    answer = cli("process", "--model", tiny, "--corpus", inputs / "corpus", "--requests", inputs / "requests.jsonl")
    assert answer.code in (0, 2), answer.err
    assert list(settings.home.glob("reports/*/report.html")), answer.err
    cli("scan", inputs / "corpus", "--report", settings.home / "scan")
    assert list((settings.home / "scan").iterdir())
    assert scanner.tree(settings.home) == []
    assert scanner.tree(inputs), "what was handed in holds it all: the search is no blank"


ADDRESSES = (
    f"https://{SECRET}@127.0.0.1:9/rows.jsonl",
    f"https://user:{SECRET}@127.0.0.1:9/rows.jsonl",
    f"https://127.0.0.1:9/rows.jsonl?sig={SECRET}",
    f"https://127.0.0.1:9/rows.jsonl?X-Amz-Signature={SECRET}&part=1",
    f"s3://key:{SECRET}@bucket/rows.jsonl",
    f"https://127.0.0.1:9/rows.jsonl#access_token={SECRET}",
)


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_with_a_credential_is_refused_unrepeated_and_kept_nowhere(
    cli: Cli, settings: Settings, tiny: Path, inputs: Path, scanner: Scanner, address: str
) -> None:
    requests = inputs / "requests.jsonl"
    answers = [
        cli("process", "--model", tiny, "--corpus", address, "--requests", requests),
        cli("process", "--model", tiny, "--corpus", inputs / "corpus", "--held-out", address, "--requests", requests),
        cli("scan", address),
        cli("gate", "tiny-model", "--requests", requests, "--corpus", address),
    ]
    assert [answer.code for answer in answers] == [2] * len(answers)
    assert not any(SECRET in answer.out + answer.err for answer in answers), "an error repeats no credential"
    assert scanner.tree(settings.home) == []
