r"""Everything that detection can be told, in one value, and the YAML file that says it.

    types: [EMAIL_ADDRESS, PHONE_NUMBER]     # default: all seven
    min_score: 0.4
    phone_regions: [US, GB, DE]              # whose national writings are known
    context:                                 # further words that name a type
      US_SSN: [fiscal id]
    allow_list: [help@example.com]           # never reported
    ner: {engine: spacy, model: en_core_web_lg, types: [PERSON, LOCATION]}
    limits: {pattern_seconds: 1, document_seconds: 4}
    recognisers:
      - name: staff number
        type: STAFF_NUMBER                   # default CUSTOM
        pattern: 'S-\d{6}'
        score: 0.3                           # default 0.85; 0.35 more after a word of the context
        context: [staff, employee]
      - name: project names
        values: [Bluebird, 'Heron 7']        # or values_file: a text file with one on each line
        ignore_case: true

Every key is optional; one that is not known is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast, get_args

from infra.detection.backtracking import Limits
from infra.detection.custom import CustomRecogniser
from infra.identifiers.numbering import REGIONS, is_region
from revs.errors import BadInput

DEFAULT_TYPES = ("EMAIL_ADDRESS", "US_SSN", "PHONE_NUMBER", "URL", "CREDIT_CARD", "IBAN_CODE", "IP_ADDRESS")
DEFAULT_MIN_SCORE = 0.4
"""Presidio's score of a phone number without context; a bare nine-digit number has 0.05 and is left out."""
NER_TYPES = ("PERSON", "LOCATION", "ORGANIZATION", "NRP", "DATE_TIME")
Engine = Literal["spacy", "transformers", "gliner"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NerConfig:
    """A named-entity engine: its kind, a model that lies on this machine, the types it is asked for (`NER_TYPES`).

    Findings that the model gives less than `min_score` (0 to 1) are left out; spaCy gives none, so each of its counts
    as 0.85, Presidio's figure. Addresses are Presidio's LOCATION.
    """

    engine: Engine
    model: str
    types: tuple[str, ...] = ("PERSON", "LOCATION")
    min_score: float = 0.5
    language: str = "en"

    def __post_init__(self) -> None:
        if self.engine not in get_args(Engine):
            raise BadInput(f"ner: engine {self.engine!r} is not known; choose from {', '.join(get_args(Engine))}")
        if not self.model:
            raise BadInput("ner: the model is missing; write ENGINE:MODEL, for instance spacy:en_core_web_lg")
        unknown = [type_ for type_ in self.types if type_ not in NER_TYPES]
        if unknown or not self.types:
            raise BadInput(f"ner: types {', '.join(unknown) or 'none'}; choose from {', '.join(NER_TYPES)}")
        _check_share("ner: min_score", self.min_score)

    @classmethod
    def parse(cls, text: str) -> NerConfig:
        """From `ENGINE:MODEL`."""
        engine, _, model = text.partition(":")
        return cls(engine=cast(Engine, engine), model=model)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorConfig:
    """What a detector looks for, and how. The module's docstring shows every setting."""

    types: tuple[str, ...] = DEFAULT_TYPES
    min_score: float = DEFAULT_MIN_SCORE
    phone_regions: tuple[str, ...] = REGIONS
    context: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    allow_list: tuple[str, ...] = field(default=(), repr=False)
    ner: NerConfig | None = None
    limits: Limits = field(default_factory=Limits)
    custom: tuple[CustomRecogniser, ...] = ()

    def __post_init__(self) -> None:
        for named in (self.types, self.context):
            unknown = [type_ for type_ in named if type_ not in DEFAULT_TYPES]
            if unknown or not self.types:
                given = ", ".join(unknown) or "none"
                raise BadInput(f"cannot detect these types: {given}; choose from {', '.join(DEFAULT_TYPES)}")
        _check_share("min_score", self.min_score)
        unknown = [code for code in self.phone_regions if code not in REGIONS and not is_region(code)]
        if unknown:
            raise BadInput(f"phone_regions: {unknown[0]!r} is no region with a numbering plan; write codes like US")
        for stated in self.custom:
            if not stated.context and stated.score < self.min_score:
                raise BadInput(
                    f"recogniser {stated.name!r}: score {stated.score} is below {self.min_score}, the least reported; "
                    "raise it or name context words"
                )

    def settings(self) -> dict[str, Any]:
        """What a report may say of it: no listed value, no allowed one."""
        own = [
            {
                "name": r.name,
                "type": r.type,
                "score": r.score,
                "kind": "pattern" if r.pattern else f"{len(r.values)} values",
            }
            for r in self.custom
        ]
        return {
            "types": list(self.types),
            "min_score": self.min_score,
            "phone_regions": list(self.phone_regions),
            "context": {type_: list(words) for type_, words in sorted(self.context.items())},
            "allow_list": len(self.allow_list),
            "ner": asdict(self.ner) | {"types": list(self.ner.types)} if self.ner else None,
            "limits": asdict(self.limits),
            "recognisers": own,
        }


Reader = Callable[[str, object], Any]
"""Takes what a value is called in messages, and the value as YAML has it; gives it as the settings have it."""


def read_config(path: Path) -> DetectorConfig:
    """The configuration in a YAML file.

    Raises:
        BadInput: the file is missing or no such YAML, a key is unknown, or a value is out of its bounds.
    """
    where = f"recognisers {str(path)!r}"
    readers: dict[str, Reader] = _SETTINGS | {"recognisers": partial(_recognisers, path)}
    document = _yaml(where, path)
    if not isinstance(document, dict) or not document:
        raise BadInput(f"{where}: the file needs at least one key of {', '.join(sorted(readers))}")
    given = _read(where, document, readers, prefix="")
    return DetectorConfig(custom=given.pop("recognisers", ()), **given)


def _yaml(where: str, path: Path) -> object:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the other one takes a minute for a list of 100,000
    text = _text(where, path)
    try:
        return yaml.load(text, Loader=loader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        raise BadInput(f"{where} are not valid YAML{line}; check the indentation and quotes") from None


def _text(what: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise BadInput(f"{what} cannot be read ({reason}); check the path") from None


def _read(where: str, given: Mapping[Any, Any], readers: Mapping[str, Reader], prefix: str) -> dict[str, Any]:
    """Every value as its key's reader gives it; a key that has none is refused by name."""
    unknown = sorted(str(key) for key in given.keys() - readers.keys())
    if unknown:
        raise BadInput(f"{where}: unknown key {unknown[0]!r}; choose from {', '.join(sorted(readers))}")
    return {key: readers[key](f"{prefix}{key}", value) for key, value in given.items()}


def _strings(what: str, given: object) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(value, str) for value in given):
        raise BadInput(f"{what} is no list of strings; put numbers in quotes")
    return tuple(given)


def _number(what: str, given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise BadInput(f"{what} is no number; give one above 0 and at most 1")
    return float(given)


def _of(kind: type) -> Reader:
    def read(what: str, given: object) -> object:
        if not isinstance(given, kind):
            raise BadInput(f"{what} is {type(given).__name__}, not {kind.__name__}; put it in quotes")
        return given

    return read


def _context(what: str, given: object) -> dict[str, tuple[str, ...]]:
    if not isinstance(given, dict):
        raise BadInput(f"{what}: no mapping of types to lists of words; write US_SSN: [fiscal id]")
    return {str(type_): _strings(f"{what}: {type_}", words) for type_, words in given.items()}


def _ner(what: str, given: object) -> NerConfig:
    if isinstance(given, str):
        return NerConfig.parse(given)
    if not isinstance(given, dict) or not {"engine", "model"} <= given.keys():
        raise BadInput("ner: give ENGINE:MODEL, or a mapping with engine and model")
    return NerConfig(**_read(what, given, _NER, prefix="ner: "))


def _limits(what: str, given: object) -> Limits:
    if not isinstance(given, dict):
        raise BadInput(f"{what}: no mapping; write pattern_seconds: 1")
    return Limits(**_read(what, given, _LIMITS, prefix=""))


def _recognisers(path: Path, _what: str, given: object) -> tuple[CustomRecogniser, ...]:
    if not isinstance(given, list) or not given:
        raise BadInput(f"recognisers {str(path)!r}: 'recognisers' needs a list of them")
    return tuple(_recogniser(number, entry, path) for number, entry in enumerate(given, start=1))


def _recogniser(number: int, entry: object, path: Path) -> CustomRecogniser:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise BadInput(f"recogniser {number}: each entry is a mapping with a name")
    where = f"recogniser {entry['name']!r}"
    read = _read(where, entry, _RECOGNISER, prefix=f"{where}: ")
    if "values_file" in read:
        if "values" in read:
            raise BadInput(f"{where}: give either values or values_file")
        listed = path.parent / read.pop("values_file")
        lines = _text(f"{where}: values_file {str(listed)!r}", listed).splitlines()
        read["values"] = tuple(line.strip() for line in lines if line.strip())
    return CustomRecogniser(**read)


_NER: dict[str, Reader] = {
    **dict.fromkeys(("engine", "model", "language"), _of(str)),
    "types": _strings,
    "min_score": _number,
}
_LIMITS: dict[str, Reader] = {each.name: lambda _what, given: given for each in fields(Limits)}
_RECOGNISER: dict[str, Reader] = {
    **dict.fromkeys(("name", "type", "pattern", "values_file"), _of(str)),
    **dict.fromkeys(("values", "context"), _strings),
    "score": _number,
    "ignore_case": _of(bool),
}
_SETTINGS: dict[str, Reader] = {
    **dict.fromkeys(("types", "phone_regions", "allow_list"), _strings),
    "min_score": _number,
    "context": _context,
    "ner": _ner,
    "limits": _limits,
}


def _check_share(what: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise BadInput(f"{what} {value} is not between 0 and 1; correct it")
