"""What the tests of faults share: an error in one line, a demand, and a way past the program into PostgreSQL."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url
from stored_requests import line

from revs.errors import OperationFailed


def one_line(call: Callable[[], object], match: str) -> str:
    with pytest.raises(OperationFailed, match=match) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def demand(number: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line(number))
    return found


@contextlib.contextmanager
def administrator(url: str) -> Iterator[psycopg.Connection[Any]]:
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as connection:
        yield connection
