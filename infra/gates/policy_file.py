"""Reads a gate policy from a YAML file, and refuses in one line what cannot be meant.

    version: 1
    gates:
      perplexity_ratio:
        guards: Ordinary text is predicted as well as by the version before.
        high: 1.02
        root: {guards: …, high: 1.05, need: evidence}

A bound stands in the units of its metric. Under `root` it is that of the same metric since the root of the lineage;
under `parent` and `control` it is that of the difference to the version before and to a model that was never trained on
the secrets, in points. Such a gate is named after both: `perplexity_ratio_root`. Numbers are those of JSON: YAML's
octal and base-60 ones are text here, and text is no bound.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from infra.gates.comparison import SINCE_ROOT
from revs.errors import BadInput

Need = Literal["required", "evidence", "optional"]
Action = Literal["block", "warn"]

_MOST_BYTES: Final = 64 * 1024
_DEEPEST: Final = 5  # the file, its gates, a gate, what it is compared with; and one to spare for the message
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,29})(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,3})?")
_WORDS: Final[Mapping[str, object]] = {"true": True, "false": False, "null": None, "~": None, "": None}
_OURS = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,59}")  # what may be shown of a file that may be another one
_ENDS: Final = {"higher": ("low",), "lower": ("high",), "near 0": ("low", "high")}
_AGAINST: Final = ("parent", "root", "control")


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be one line without control characters")
    return text


def _whole(given: object) -> object:
    """Python takes true and 1.0 for 1, and this file does not."""
    if given == 1 and type(given) is not int:
        raise ValueError("must be 1")
    return given


Sentence = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_printable)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


class Relative(_Strict):
    """A gate on how a version compares with another one."""

    guards: Sentence
    low: float | None = None
    high: float | None = None
    need: Need = "required"
    action: Action = "block"


class Bounded(_Strict):
    """A gate on a metric, and gates on how that metric compares; at least one of them has a bound."""

    guards: Sentence | None = None
    low: float | None = None
    high: float | None = None
    need: Need = "required"
    action: Action = "block"
    parent: Relative | None = None
    root: Relative | None = None
    control: Relative | None = None


class PolicyFile(_Strict):
    """A gate policy."""

    version: Annotated[Literal[1], BeforeValidator(_whole)]
    gates: Annotated[dict[str, Bounded], Field(min_length=1)]


def read_table(path: Path, *, known: bool = True) -> dict[str, dict[str, Any]]:
    """The gates of a policy file by name, as `GatePolicy.from_dict` reads them.

    Args:
        path: of the file.
        known: check that each metric exists and is bounded on its bad side; the shipped files are checked by a test.

    Raises:
        BadInput: it is no such file; the message begins with its name and says what is wrong.
    """
    try:
        with path.expanduser().open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise BadInput(f"the gate policy {path} cannot be read ({error.strerror}): name a YAML file") from None
    try:
        policy = _parsed(raw)
        if known:
            for name, entry in policy.gates.items():
                _check_metric(name, entry)
        return dict(_flat(policy))
    except ValueError as error:
        raise BadInput(f"the gate policy {path}: {error}") from None


def _parsed(raw: bytes) -> PolicyFile:
    if len(raw) > _MOST_BYTES:
        raise ValueError(f"it has more than {_MOST_BYTES // 1024} KiB; a gate takes a few lines")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("it is no UTF-8 text") from None
    try:
        _check_events(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:  # its text may quote the file
        mark = getattr(error, "problem_mark", None)
        raise ValueError(f"it is no YAML{f' at line {mark.line + 1}' if mark else ''}") from None
    if node is None:
        raise ValueError("it is empty; a policy without gates would pass everything")
    document = _plain(node)
    if not isinstance(document, dict):
        raise ValueError("it is not a mapping of version and gates")
    try:
        return PolicyFile.model_validate(document)
    except ValidationError as error:
        raise ValueError(_fault(error)) from None


def _check_events(text: str) -> None:
    """Refuse what could grow without end while it is read: references, and nesting."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if getattr(event, "anchor", None) is not None:
            raise ValueError(f"line {event.start_mark.line + 1} has an anchor or an alias; write each gate out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ValueError(f"line {event.start_mark.line + 1} is nested too deep for a policy")


def _plain(node: Any) -> Any:
    """What a YAML node says, with JSON's words for numbers, truth and nothing; keys are text, each once."""
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ValueError(f"line {key.start_mark.line + 1}: a key is no word")
            if key.value in found:
                raise ValueError(f"line {key.start_mark.line + 1}: {_shown(key.value)} stands there twice")
            found[key.value] = _plain(value)
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_plain(value) for value in node.value]
    if node.style is not None:
        return node.value
    if node.value in _WORDS:
        return _WORDS[node.value]
    return json.loads(node.value) if _NUMBER.fullmatch(node.value) else node.value


def _fault(error: ValidationError) -> str:
    """The first thing that is wrong, with its place; of what stands there at most a number or a word."""
    fault = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(_shown(str(part)) for part in fault["loc"])
    match fault["type"]:
        case "missing":
            what = "is missing; write 'version: 1' first" if place == "version" else "is missing"
        case "extra_forbidden":
            keys = PolicyFile if len(fault["loc"]) == 1 else Bounded if len(fault["loc"]) == 3 else Relative
            what = f"is no key there; known are {', '.join(keys.model_fields)}"
        case "model_type" | "dict_type" | "model_attributes_type":
            what = f"is not a mapping{' of metrics' if place == 'gates' else ''}"
        case "too_short":
            what = "is empty; a policy without gates would pass everything"
        case _:
            said = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
            what = f"{_value(fault['input'])} must be {said.removeprefix('must be ')}"
    return f"{place} {what}"


def _value(given: object) -> str:
    if given is None or isinstance(given, bool | int | float):
        return f"= {json.dumps(given)}"
    return f"= {_shown(given)}" if isinstance(given, str) else "is a list or mapping and"


def _shown(word: str) -> str:
    return word if _OURS.fullmatch(word) or _NUMBER.fullmatch(word) else "…"


def _check_metric(name: str, entry: Bounded) -> None:
    """Refuse a metric that does not exist, that cannot be compared so, or that is bounded on its good side alone."""
    from infra.report.figures import percent
    from infra.report.metrics import METRICS

    known = [each for each in METRICS if not each.endswith("_root")]
    if name not in known:
        raise ValueError(f"gates.{_shown(name)}: no metric has this name{_near(name, known)}")
    metric = METRICS[name]
    points = metric.show is percent and metric.better in ("higher", "lower")
    for against, bound in _bounds(entry):
        if against == "root" and name not in SINCE_ROOT:
            may = " and ".join(SINCE_ROOT)
            raise ValueError(f"gates.{name}.root: it cannot be compared with the root of the lineage; {may} can")
        if against in ("parent", "control") and not points:
            raise ValueError(f"gates.{name}.{against}: it is no percentage, so a difference in points says nothing")
        place = f"gates.{name}.{against}" if against else f"gates.{name}"
        if metric.show is percent and not (bound.low or 0) <= 100:
            raise ValueError(f"{place}: it can never pass, for no share is above 100: low {bound.low:g}")
        missing = [end for end in _ENDS.get(metric.better, ()) if getattr(bound, end) is None]
        if missing:
            wanted = " and ".join(_ENDS[metric.better])
            raise ValueError(
                f"{place}: {metric.better} is better, so it needs {wanted}; what it has lets bad ones pass"
            )


def _near(name: str, known: list[str]) -> str:
    for against in _AGAINST:
        if (base := name.removesuffix(f"_{against}")) != name and base in known:
            return f"; write {against!r} under {base!r}"
    close = get_close_matches(name, known, n=3)
    return f"; near are {', '.join(close)}" if close else "; 'revs gate --explain' shows those of the default policy"


def _bounds(entry: Bounded) -> Iterator[tuple[str | None, Bounded | Relative]]:
    """The gates of an entry: its own, if it has a bound or nothing else, and those that compare."""
    compared = [(against, getattr(entry, against)) for against in _AGAINST if getattr(entry, against) is not None]
    if entry.low is not None or entry.high is not None or entry.guards is not None or not compared:
        yield None, entry
    yield from compared


def _flat(policy: PolicyFile) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, entry in policy.gates.items():
        for against, bound in _bounds(entry):
            if bound.guards is None:
                raise ValueError(f"gates.{name}: guards is missing; say in a sentence what the gate guards")
            yield (
                f"{name}_{against}" if against else name,
                bound.model_dump(include={"guards", "low", "high", "need", "action"}),
            )
