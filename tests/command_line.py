"""Runs `revs` in the process of a test; no tests here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest


class Answer(NamedTuple):
    code: int
    out: str
    err: str


Revs = Callable[..., Answer]


def in_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *secrets: str) -> Revs:
    """`revs` in this process; every error is one line, and no answer shows a secret."""
    from flows.cli import main

    def run(*arguments: str | Path) -> Answer:
        monkeypatch.setattr(sys, "argv", ["revs", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        answer = Answer(int(ended.value.code or 0), said.out, said.err)
        assert not any(secret in answer.out + answer.err for secret in secrets)
        assert not answer.code or (answer.err.count("\n") == 1 and answer.err.startswith("error: "))
        return answer

    return run
