"""What a record of a work folder is: a checked, frozen table with the version of its form.

    class Tokens(Record):
        name = "tokens"
        places: tuple[tuple[int, ...], ...]

Change the form of a record, or the meaning of a field, and give it the next version: `version: Literal[2] = 2`. What an
earlier version wrote is then refused with the remedy, never read as something else.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator, ValidationError, ValidationInfo

from infra.corpus import ShardSurvey

T = TypeVar("T")
_OUR_NAMES = re.compile("[a-z][a-z0-9_]*")


class Part(BaseModel):
    """A part of a record: every field has exactly its type, and there are no others."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )


class Record(Part):
    """What one stage hands on to the next."""

    name: ClassVar[str]
    """Of its file; with a place for the number, as in "edit-{}", where a batch has several."""

    version: Literal[1] = 1

    @classmethod
    def file_name(cls, number: int | None) -> str:
        """The name of its file, without a suffix."""
        assert ("{" in cls.name) == (number is not None), f"{cls.__name__} number {number}"
        return cls.name.format(number)

    @classmethod
    def current(cls) -> int:
        """The version that is written, and the only one that is read."""
        return int(cls.model_fields["version"].default)


def _unescaped(value: Any, info: ValidationInfo) -> Any:
    if info.mode == "json" and not isinstance(value, str):
        raise ValueError("this is no text")
    return json.loads(value) if info.mode == "json" else value


Escaped = Annotated[T, PlainValidator(_unescaped), PlainSerializer(json.dumps, return_type=str)]
"""Plain JSON that may hold names of files: one that is no UTF-8 passes only as ASCII text. Its type is not checked."""


def _survey(value: Any) -> ShardSurvey:
    if isinstance(value, ShardSurvey):
        return value
    try:
        return ShardSurvey.from_dict(json.loads(value))
    except (LookupError, TypeError, ValueError):
        raise ValueError("this is no survey of a shard") from None


_survey_text = PlainSerializer(lambda survey: json.dumps(survey.to_dict()), return_type=str)
SurveyOfShard = Annotated[ShardSurvey, PlainValidator(_survey), _survey_text]
"""A survey, escaped likewise since it names files."""


def table_in(raw: bytes) -> dict[str, Any] | None:
    """The JSON object in the bytes of a file; None where there is none, as a power cut may leave it."""
    try:
        found = json.loads(raw)
    except ValueError:  # no JSON, or no text at all
        return None
    return found if isinstance(found, dict) else None


def fault_in(error: ValidationError) -> str:
    """The first thing that is wrong with a record: the field, and what it should be; nothing of what stands there.

    A field that should not be there is named where its name has the form of ours.
    """
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(
        str(part) if isinstance(part, int) or _OUR_NAMES.fullmatch(part) else "a field that is none"
        for part in fault["loc"]
    )
    return f"{place}: {fault['msg'].removeprefix('Value error, ')}"
