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


def read_config(path: Path) -> DetectorConfig:
    """The configuration in a YAML file.

    Raises:
        BadInput: the file is missing or no such YAML, a key is unknown, or a value is out of its bounds.
    """
    document = _yaml(path)
    where = f"recognisers {str(path)!r}"
    if not isinstance(document, dict) or not document:
        raise BadInput(f"{where}: the file needs at least one key of {', '.join(sorted(_READ))}")
    _refuse_unknown(where, document, set(_READ))
    given: dict[str, Any] = {
        _NAMES.get(str(key), str(key)): _READ[key](key, value, path) for key, value in document.items()
    }
    return DetectorConfig(**given)


def _yaml(path: Path) -> object:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the other one takes a minute for a list of 100,000
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise BadInput(f"recognisers {str(path)!r} cannot be read ({reason}); check the path") from None
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        raise BadInput(
            f"recognisers {str(path)!r} are not valid YAML{line}; check the indentation and quotes"
        ) from None


def _read_types(key: str, given: object, _path: Path) -> tuple[str, ...]:
    return _strings(key, key, given)


def _read_number(key: str, given: object, _path: Path) -> float:
    return _number(key, given)


def _read_context(key: str, given: object, _path: Path) -> dict[str, tuple[str, ...]]:
    if not isinstance(given, dict):
        raise BadInput(f"{key}: no mapping of types to lists of words; write US_SSN: [fiscal id]")
    return {str(type_): _strings(key, str(type_), words) for type_, words in given.items()}


def _read_ner(key: str, given: object, _path: Path) -> NerConfig:
    if isinstance(given, str):
        return NerConfig.parse(given)
    if not isinstance(given, dict) or not {"engine", "model"} <= given.keys():
        raise BadInput("ner: give ENGINE:MODEL, or a mapping with engine and model")
    _refuse_unknown(key, given, {each.name for each in fields(NerConfig)})
    for name in given.keys() & {"engine", "model", "language"}:
        _check_kind(key, name, given[name], str)
    read: dict[str, Any] = dict(given)
    if "types" in read:
        read["types"] = _strings(key, "types", read["types"])
    if "min_score" in read:
        read["min_score"] = _number("ner: min_score", read["min_score"])
    return NerConfig(**read)


def _read_limits(key: str, given: object, _path: Path) -> Limits:
    if not isinstance(given, dict):
        raise BadInput(f"{key}: no mapping; write pattern_seconds: 1")
    _refuse_unknown(key, given, {each.name for each in fields(Limits)})
    return Limits(**given)


def _read_recognisers(_key: str, given: object, path: Path) -> tuple[CustomRecogniser, ...]:
    if not isinstance(given, list) or not given:
        raise BadInput(f"recognisers {str(path)!r}: 'recognisers' needs a list of them")
    return tuple(_entry(number, entry, path) for number, entry in enumerate(given, start=1))


_NAMES = {"recognisers": "custom"}
_READ: dict[str, Callable[[str, object, Path], Any]] = {
    "types": _read_types,
    "min_score": _read_number,
    "phone_regions": _read_types,
    "context": _read_context,
    "allow_list": _read_types,
    "ner": _read_ner,
    "limits": _read_limits,
    "recognisers": _read_recognisers,
}


def _entry(number: int, entry: object, path: Path) -> CustomRecogniser:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise BadInput(f"recogniser {number}: each entry is a mapping with a name")
    where = f"recogniser {entry['name']!r}"
    _refuse_unknown(where, entry, {each.name for each in fields(CustomRecogniser)} | {"values_file"})
    for key, kind in (("type", str), ("pattern", str), ("ignore_case", bool), ("values_file", str)):
        if key in entry:
            _check_kind(where, key, entry[key], kind)
    if "values_file" in entry and "values" in entry:
        raise BadInput(f"{where}: give either values or values_file")
    read: dict[str, Any] = dict(entry)
    for key in read.keys() & {"values", "context"}:
        read[key] = _strings(where, key, read[key])
    if "values_file" in read:
        read["values"] = _lines(where, path.parent / read.pop("values_file"))
    if "score" in read:
        read["score"] = _number(f"{where}: score", read["score"])
    return CustomRecogniser(**read)


def _lines(where: str, path: Path) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise BadInput(f"{where}: values_file {str(path)!r} cannot be read ({reason}); check the path") from None
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _refuse_unknown(where: str, given: Mapping[Any, Any], known: set[str]) -> None:
    unknown = sorted(str(key) for key in given.keys() - known)
    if unknown:
        raise BadInput(f"{where}: unknown key {unknown[0]!r}; choose from {', '.join(sorted(known))}")


def _strings(where: str, key: str, given: object) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(value, str) for value in given):
        raise BadInput(f"{where}: {key} is no list of strings; put numbers in quotes")
    return tuple(given)


def _check_kind(where: str, key: str, given: object, kind: type) -> None:
    if not isinstance(given, kind):
        raise BadInput(f"{where}: {key} is {type(given).__name__}, not {kind.__name__}; put it in quotes")


def _number(what: str, given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise BadInput(f"{what} is no number; give one above 0 and at most 1")
    return float(given)


def _check_share(what: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise BadInput(f"{what} {value} is not between 0 and 1; correct it")
