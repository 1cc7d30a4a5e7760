"""Judges the requests of a batch, their occurrences, their targets, and metrics by Great Expectations suites.

The rules are files in `suites/`; here is what the suites are asked of. Great Expectations copies failing values into
its results. Therefore the frames it sees hold ids, dates, counts, flags and words from closed lists only, and nothing
is kept: the context lives in memory for one call.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from infra.gates.checkpoint import broken_rows, checkpoint_summary, load_suite, run_checkpoint, summary
from revs.errors import BadInput, OperationFailed

Record = Callable[[dict[str, Any]], object]
"""Takes `checkpoint_summary` of what was judged: rules and counts, no value."""

_REQUEST_NUMBERS = ("received", "due", "identifiers")
_PLACE = ("request", "identifier", "corpus_row", "start", "end")
_TOKENS = ("prompt_tokens", "secret_tokens", "tokens")
RECEIVED_LATER = "the received date is in the future"
"""The reason for a request that was received after today; its correction is awaited."""


def check_requests(
    rows: Iterable[Mapping[str, Any]], *, model: str, today: date, record: Record | None = None
) -> dict[str, list[str]]:
    """Validate the requests of one batch.

    Args:
        rows: one per request: `request_id`, `model`, `received` and `due` (dates or ISO text), `types` (those of the
            identifiers), `identifiers` (how many), `well_formed` (whether intake could read every one). Other keys are
            not looked at.
        model: the model of the batch.
        today: requests must not have been received later; the day in the installation's time zone.
        record: is handed the counts of each rule, to keep; not called where the suite could not run.

    Returns:
        The rules that each request broke, by id; empty if all are good. Rules show no value.

    Raises:
        OperationFailed: the suite could not run; no request was judged.
    """
    from infra.requests.records import IDENTIFIER_TYPES  # the store's libraries are heavy

    frame = [_request_row(row, model) for row in rows]
    named = [{"id": row["request_id"]} for row in frame]
    word = f"(?:{'|'.join(sorted(IDENTIFIER_TYPES))})"
    parameters = {
        "models": [model],
        "type_list": rf"^(?:{word}(?:,{word})*)?$",
        "latest_day": today.toordinal(),
    }
    broken = _broken_rows(load_suite("requests"), frame, parameters, numbers=_REQUEST_NUMBERS, record=record)
    return _rules(named, broken)


def check_occurrences(
    rows: Iterable[Mapping[str, Any]],
    *,
    requests: Collection[str],
    corpus_rows: int,
    least_agreement: float = 0.0,
    record: Record | None = None,
) -> dict[str, str]:
    """Validate the places where the identifiers of a batch were found.

    Args:
        rows: one per occurrence: `id`, `request_id`, `identifier` (its index in the request), `type`, `row`, `start`,
            `end`, and `agrees` (whether the detector sees personal data there). Other keys are not looked at.
        requests: ids of the requests of the batch.
        corpus_rows: rows of the corpus, at least 1.
        least_agreement: share (0 to 1) of the occurrences at which the detector has to agree; where fewer do, those at
            which it does not are named.
        record: is handed the counts of each rule, to keep; not called where the suite could not run.

    Returns:
        The reason for each occurrence that broke a rule, by id; empty if all are good. Reasons show no value.

    Raises:
        BadInput: the corpus has no rows, or the share is none.
        OperationFailed: the suite could not run; no occurrence was judged.
    """
    from infra.requests.records import IDENTIFIER_TYPES

    given = list(rows)
    if corpus_rows < 1 or not 0 <= least_agreement <= 1:
        raise BadInput(f"occurrences of {corpus_rows} rows, agreement {least_agreement}; give 1 or more, and 0 to 1")
    numbers = {request_id: number for number, request_id in enumerate(requests)}
    parameters = {
        "types": sorted(IDENTIFIER_TYPES),
        "last_row": corpus_rows - 1,
        "least_agreement": least_agreement,
    }
    frame = [_occurrence_row(row, numbers) for row in given]
    return _reasons(given, _broken_rows(load_suite("occurrences"), frame, parameters, numbers=_PLACE, record=record))


def check_targets(
    rows: Iterable[Mapping[str, Any]],
    *,
    context: int,
    edited: Collection[str],
    kept: Collection[str],
    record: Record | None = None,
) -> dict[str, str]:
    """Validate the targets of a batch.

    Args:
        rows: one per target: `id`, `secret` (which secret it is a context of: any word that is not the secret),
            `has_prompt`, `prompt_tokens`, `secret_tokens`, `memorised`, `use`, and `others` where the secret is not
            one of the batch's. Other keys are not looked at.
        context: most tokens that the model takes, prompt and secret together.
        edited: the uses of targets that the edit is made on.
        kept: the other uses that there are.
        record: is handed the counts of each rule, to keep; not called where the suite could not run.

    Returns:
        The reason for each target that broke a rule, by id; empty if all are good. Reasons show no value.

    Raises:
        OperationFailed: the suite could not run; no target was judged.
    """
    given = list(rows)
    to_edit = {row.get("secret") for row in given if row.get("use") in edited}
    to_erase = {row.get("secret") for row in given if row.get("memorised") is True and not row.get("others")}
    frame = [_target_row(row, {*edited, *kept}, uncovered=row.get("secret") in to_erase - to_edit) for row in given]
    parameters = {"context": context, "uses": sorted({*edited, *kept})}
    return _reasons(given, _broken_rows(load_suite("targets"), frame, parameters, numbers=_TOKENS, record=record))


def judge_metrics(
    values: Mapping[str, float | None], bounds: Mapping[str, tuple[float | None, float | None]]
) -> frozenset[str]:
    """Names of the metrics that are there and lie within their bounds (low, high; both included).

    Raises:
        OperationFailed: the suite could not run.
    """
    if not bounds:
        return frozenset()
    table = [{metric: values.get(metric) for metric in bounds}]
    broken = _broken_rows(metrics_suite(bounds), table, {}, numbers=tuple(bounds))
    return frozenset(metric for metric in bounds if not broken.keys() & set(_metric_rules(metric)))


def metrics_suite(bounds: Mapping[str, tuple[float | None, float | None]]) -> dict[str, Any]:
    """The suite on a one-row table of metrics: each is there, and within its bounds (low, high; both included)."""
    expectations: list[dict[str, Any]] = []
    for metric, (low, high) in bounds.items():
        missing, outside = _metric_rules(metric)
        between = {"column": metric, "min_value": low, "max_value": high}
        expectations += [
            {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": metric}, "meta": {"rule": missing}},
            {"type": "expect_column_values_to_be_between", "kwargs": between, "meta": {"rule": outside}},
        ]
    return {"name": "metrics", "notes": "One row holds the metrics of a version.", "expectations": expectations}


def _metric_rules(metric: str) -> tuple[str, str]:
    return f"{metric} is missing", f"{metric} is outside its bounds"


def _request_row(row: Mapping[str, Any], model: str) -> dict[str, Any]:
    """One row of the frame. Free text becomes a word of a closed list: it may hold what it should not."""
    from infra.requests.records import IDENTIFIER_TYPES  # the store's libraries are heavy

    types = row.get("types") or ()
    return {
        "request_id": row["request_id"],
        "model": model if row.get("model") == model else "OTHER",
        "received": _day(row.get("received")),
        "due": _day(row.get("due")),
        "types": ",".join(name if name in IDENTIFIER_TYPES else "UNKNOWN" for name in types),
        "identifiers": row.get("identifiers") or 0,
        "well_formed": row.get("well_formed") is True,
    }


def _reasons(given: Sequence[Mapping[str, Any]], broken: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """The rules that each row broke as one text, under its id."""
    return {row_id: "; ".join(rules) for row_id, rules in _rules(given, broken).items()}


def _rules(given: Sequence[Mapping[str, Any]], broken: Mapping[str, Sequence[int]]) -> dict[str, list[str]]:
    """The rules that each row broke under its id, which the library does not get to see."""
    found: dict[str, list[str]] = defaultdict(list)
    for rule, indices in broken.items():
        for index in indices:
            found[given[index]["id"]].append(rule)
    return {row_id: list(dict.fromkeys(rules)) for row_id, rules in found.items()}


def _broken_rows(
    suite: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    parameters: Mapping[str, Any],
    *,
    numbers: tuple[str, ...],
    record: Record | None = None,
) -> dict[str, list[int]]:
    """Indices of the rows that break each rule, in the suite's order; only broken rules are in it."""
    counted, broken = summary(suite["name"], []), dict[str, list[int]]()
    if rows:
        try:
            result = run_checkpoint(suite, rows, numbers=numbers, parameters=parameters)
            counted, broken = checkpoint_summary(result), broken_rows(result)
        except Exception as error:
            kind = type(error).__name__  # the library's messages quote values
            raise OperationFailed(
                f"the Great Expectations suite could not run ({kind}); nothing was judged or changed: run again"
            ) from None
        judged = {rule["rule"] for rule in counted["rules"]}  # two under one reason would hide one another
        if len(judged) != len(suite["expectations"]) or not all(broken.values()):
            raise OperationFailed("the Great Expectations suite left rules unjudged; nothing was changed: run again")
    if record is not None:
        record(counted)
    rules = dict.fromkeys(expectation["meta"]["rule"] for expectation in suite["expectations"])
    return {rule: broken[rule] for rule in rules if rule in broken}


def _occurrence_row(row: Mapping[str, Any], requests: Mapping[str, int]) -> dict[str, Any]:
    from infra.requests.records import IDENTIFIER_TYPES

    return {
        "request": requests.get(row["request_id"], -1) if isinstance(row.get("request_id"), str) else -1,
        "type": row.get("type") if row.get("type") in IDENTIFIER_TYPES else "UNKNOWN",
        "agrees": row.get("agrees") is True,
        "corpus_row": _whole(row.get("row")),
        **{name: _whole(row.get(name)) for name in ("identifier", "start", "end")},
    }


def _target_row(row: Mapping[str, Any], uses: Collection[str], *, uncovered: bool) -> dict[str, Any]:
    prompt, secret = _whole(row.get("prompt_tokens")), _whole(row.get("secret_tokens"))
    return {
        "has_prompt": row.get("has_prompt") is True,
        "prompt_tokens": prompt,
        "secret_tokens": secret,
        "tokens": prompt + secret,
        "memorised_known": isinstance(row.get("memorised"), bool),
        "use": row.get("use") if row.get("use") in uses else "OTHER",
        "uncovered": uncovered,
    }


def _whole(value: object) -> int:
    """A whole number from 0; -1 for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else -1


def _day(value: object) -> int | None:
    """A date as a day number; None if it is missing or unreadable."""
    try:
        found = value if isinstance(value, date) else date.fromisoformat(str(value))
    except ValueError:
        return None
    return found.toordinal()
