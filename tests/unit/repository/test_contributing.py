"""CONTRIBUTING answers where things are; the answers are held to the tree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
ANSWERS = re.findall(r"^\| (Where [^|]+\?) \| `([^`]+)` \| `([^`]+)` \|$", PAGE, flags=re.MULTILINE)
LIKE_A_PATH = re.compile(r"`((?:flows|tasks|infra|revs|tests|docs)/[\w/.]*)`")


def test_the_page_answers_at_least_twenty_questions_each_once() -> None:
    questions = [question for question, _, _ in ANSWERS]
    assert len(questions) >= 20
    assert len(set(questions)) == len(questions)


@pytest.mark.parametrize(("question", "path", "sought"), ANSWERS)
def test_an_answer_names_a_file_that_holds_what_is_asked_for(question: str, path: str, sought: str) -> None:
    assert sought in (ROOT / path).read_text(encoding="utf-8"), question


@pytest.mark.parametrize("path", sorted(set(LIKE_A_PATH.findall(PAGE))))
def test_every_path_that_the_page_names_is_there(path: str) -> None:
    assert (ROOT / path).exists()
