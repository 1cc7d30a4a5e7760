"""The Great Expectations suites: on the requests of a batch, their occurrences, their targets, and on metrics.

Great Expectations copies failing values into its results. Therefore the frames it sees hold ids, dates, counts, flags
and words from closed lists only, and nothing is kept: the context lives in memory for one call.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from revs.errors import BadInput, OperationFailed

Rule = Callable[[Any], Any]  # the module of expectations → an expectation

_REQUEST_NUMBERS = ("received", "due", "identifiers")
_PLACE = ("request", "identifier", "corpus_row", "start", "end")
_TOKENS = ("prompt_tokens", "secret_tokens", "tokens")
_ROW = "row"
_RESULT_FORMAT = {
    "result_format": "COMPLETE",
    "unexpected_index_column_names": [_ROW],
    "partial_unexpected_count": 0,
}
RECEIVED_LATER = "the received date is in the future"
"""The reason for a request that was received after today; its correction is awaited."""
_ZONES = 1  # days: where it is tomorrow already, a request may have been received tomorrow
_ONE_SUITE_AT_A_TIME = threading.Lock()  # the library keeps its current context process-wide


def check_requests(rows: Iterable[Mapping[str, Any]], *, model: str, today: date) -> dict[str, str]:
    """Validate the requests of one batch.

    Args:
        rows: one per request: `request_id`, `model`, `received` and `due` (dates or ISO text), `types` (those of the
            identifiers), `identifiers` (how many), `well_formed` (whether intake could read every one). Other keys are
            not looked at.
        model: the model of the batch.
        today: requests must not have been received later, but for the day by which time zones differ.

    Returns:
        The reason for each request that broke a rule, by id; empty if all are good. Reasons show no value.

    Raises:
        OperationFailed: the suite could not run; no request was judged.
    """
    frame = [_request_row(row, model) for row in rows]
    named = [{"id": row["request_id"]} for row in frame]
    return _reasons(named, frame, _request_rules(model, today), _REQUEST_NUMBERS)


def check_occurrences(
    rows: Iterable[Mapping[str, Any]], *, requests: Collection[str], corpus_rows: int, least_agreement: float = 0.0
) -> dict[str, str]:
    """Validate the places where the identifiers of a batch were found.

    Args:
        rows: one per occurrence: `id`, `request_id`, `identifier` (its index in the request), `type`, `row`, `start`,
            `end`, and `agrees` (whether the detector sees personal data there). Other keys are not looked at.
        requests: ids of the requests of the batch.
        corpus_rows: rows of the corpus, at least 1.
        least_agreement: share (0 to 1) of the occurrences at which the detector has to agree; where fewer do, those at
            which it does not are named.

    Returns:
        The reason for each occurrence that broke a rule, by id; empty if all are good. Reasons show no value.

    Raises:
        BadInput: the corpus has no rows, or the share is none.
        OperationFailed: the suite could not run; no occurrence was judged.
    """
    given = list(rows)
    if corpus_rows < 1 or not 0 <= least_agreement <= 1:
        raise BadInput(f"occurrences of {corpus_rows} rows, agreement {least_agreement}; give 1 or more, and 0 to 1")
    numbers = {request_id: number for number, request_id in enumerate(requests)}
    rules = _occurrence_rules(corpus_rows, least_agreement)
    return _reasons(given, [_occurrence_row(row, numbers) for row in given], rules, _PLACE)


def check_targets(
    rows: Iterable[Mapping[str, Any]], *, context: int, edited: Collection[str], kept: Collection[str]
) -> dict[str, str]:
    """Validate the targets of a batch.

    Args:
        rows: one per target: `id`, `secret` (which secret it is a context of: any word that is not the secret),
            `has_prompt`, `prompt_tokens`, `secret_tokens`, `memorised`, `use`, and `others` where the secret is not
            one of the batch's. Other keys are not looked at.
        context: most tokens that the model takes, prompt and secret together.
        edited: the uses of targets that the edit is made on.
        kept: the other uses that there are.

    Returns:
        The reason for each target that broke a rule, by id; empty if all are good. Reasons show no value.

    Raises:
        OperationFailed: the suite could not run; no target was judged.
    """
    given = list(rows)
    to_edit = {row.get("secret") for row in given if row.get("use") in edited}
    to_erase = {row.get("secret") for row in given if row.get("memorised") is True and not row.get("others")}
    frame = [_target_row(row, {*edited, *kept}, uncovered=row.get("secret") in to_erase - to_edit) for row in given]
    return _reasons(given, frame, _target_rules(context, sorted({*edited, *kept})), _TOKENS)


def judge_metrics(
    values: Mapping[str, float | None], bounds: Mapping[str, tuple[float | None, float | None]]
) -> frozenset[str]:
    """Names of the metrics that are there and lie within their bounds (low, high; both included).

    Raises:
        OperationFailed: the suite could not run.
    """
    if not bounds:
        return frozenset()
    rules: dict[str, Rule] = {}
    for metric, (low, high) in bounds.items():
        rules[f"{metric} is there"] = _present(metric)
        rules[f"{metric} is within its bounds"] = _between(metric, low, high)
    table = [{metric: values.get(metric) for metric in bounds}]
    broken = _broken_rows(table, rules, numbers=tuple(bounds))
    return frozenset(m for m in bounds if not broken.keys() & {f"{m} is there", f"{m} is within its bounds"})


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


def _reasons(
    given: Sequence[Mapping[str, Any]],
    frame: Sequence[Mapping[str, Any]],
    rules: Mapping[str, Rule],
    numbers: tuple[str, ...],
) -> dict[str, str]:
    """The reasons of each broken row under its id, which the library does not get to see."""
    if not frame:
        return {}
    broken = _broken_rows(frame, rules, numbers=numbers)
    reasons: dict[str, list[str]] = defaultdict(list)
    for reason in rules:
        for index in broken.get(reason, ()):
            reasons[given[index]["id"]].append(reason)
    return {row_id: "; ".join(dict.fromkeys(found)) for row_id, found in reasons.items()}


def _occurrence_row(row: Mapping[str, Any], requests: Mapping[str, int]) -> dict[str, Any]:
    from infra.requests.records import IDENTIFIER_TYPES

    return {
        "request": requests.get(row["request_id"], -1) if isinstance(row.get("request_id"), str) else -1,
        "type": row.get("type") if row.get("type") in IDENTIFIER_TYPES else "UNKNOWN",
        "agrees": row.get("agrees") is True,
        "corpus_row": _whole(row.get("row")),
        **{name: _whole(row.get(name)) for name in ("identifier", "start", "end")},
    }


def _occurrence_rules(corpus_rows: int, least_agreement: float) -> dict[str, Rule]:
    from infra.requests.records import IDENTIFIER_TYPES

    return {
        "the request is not one of the batch": _between("request", 0, None),
        "the number of the identifier is missing": _between("identifier", 0, None),
        "the type is not one of those supported": _one_of("type", sorted(IDENTIFIER_TYPES)),
        "the row is not in the corpus": _between("corpus_row", 0, corpus_rows - 1),
        "the place in the row is missing": _between("start", 0, None),
        "the place ends before it begins": lambda e: e.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A="end", column_B="start", or_equal=False
        ),
        "the same place is given twice": lambda e: e.ExpectCompoundColumnsToBeUnique(column_list=list(_PLACE)),
        "the detector agrees at too few occurrences, and not here": lambda e: e.ExpectColumnValuesToBeInSet(
            column="agrees", value_set=[True], mostly=least_agreement
        ),
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


def _target_rules(context: int, uses: list[str]) -> dict[str, Rule]:
    return {
        "the prompt is empty": _one_of("has_prompt", [True]),
        "the number of prompt tokens is missing or 0": _between("prompt_tokens", 1, None),
        "the number of secret tokens is missing or 0": _between("secret_tokens", 1, None),
        "prompt and secret are longer than the model's context": _between("tokens", None, context),
        "it is not known whether the secret is memorised": _one_of("memorised_known", [True]),
        "the use is not one of those there are": _one_of("use", uses),
        "no context of this memorised secret is edited": _one_of("uncovered", [False]),
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


def _request_rules(model: str, today: date) -> dict[str, Rule]:
    """Each rule under the reason given when it is broken."""
    from infra.requests.records import IDENTIFIER_TYPES

    word = f"(?:{'|'.join(sorted(IDENTIFIER_TYPES))})"
    return {
        "the request id is not unique": lambda e: e.ExpectColumnValuesToBeUnique(column="request_id"),
        "the request is for another model than the batch": _one_of("model", [model]),
        "an identifier could not be read": _one_of("well_formed", [True]),
        "there is no identifier": _between("identifiers", 1, None),
        "an identifier's type is not one of those supported": lambda e: e.ExpectColumnValuesToMatchRegex(
            column="types", regex=rf"^(?:{word}(?:,{word})*)?$"
        ),
        "the received date is missing or unreadable": _present("received"),
        "the due date is missing or unreadable": _present("due"),
        RECEIVED_LATER: _between("received", None, today.toordinal() + _ZONES),
        "the due date is before the received date": lambda e: e.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A="due", column_B="received", or_equal=True, ignore_row_if="either_value_is_missing"
        ),
    }


def _present(column: str) -> Rule:
    return lambda e: e.ExpectColumnValuesToNotBeNull(column=column)


def _between(column: str, low: float | None, high: float | None) -> Rule:
    return lambda e: e.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high)


def _one_of(column: str, values: list[Any]) -> Rule:
    return lambda e: e.ExpectColumnValuesToBeInSet(column=column, value_set=values)


def _broken_rows(
    rows: Sequence[Mapping[str, Any]], rules: Mapping[str, Rule], *, numbers: tuple[str, ...]
) -> dict[str, list[int]]:
    """Indices of the rows that break each rule; only broken rules are in it."""
    try:
        results = _validate(rows, rules, numbers)
        broken = {r.expectation_config.meta["rule"]: _indices(r) for r in results if r.success is not True}
    except Exception as error:
        kind = type(error).__name__  # the library's messages quote values
        raise OperationFailed(
            f"the Great Expectations suite could not run ({kind}); nothing was judged or changed: run again"
        ) from None
    if len(results) != len(rules) or not all(broken.values()):
        raise OperationFailed("the Great Expectations suite left rules unjudged; nothing was changed: run again")
    return broken


def _validate(rows: Sequence[Mapping[str, Any]], rules: Mapping[str, Rule], numbers: tuple[str, ...]) -> Any:
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "False")  # read while the library is imported
    import great_expectations as gx
    import pandas as pd
    from great_expectations.data_context.types import base

    frame = pd.DataFrame(rows).astype(dict.fromkeys(numbers, "float64"))
    frame[_ROW] = range(len(frame))
    with _ONE_SUITE_AT_A_TIME:
        in_memory = base.InMemoryStoreBackendDefaults(init_temp_docs_sites=False)  # no folder in /tmp either
        bars = base.ProgressBarsConfig(globally=False)
        config = base.DataContextConfig(store_backend_defaults=in_memory, progress_bars=bars, analytics_enabled=False)
        context = gx.get_context(mode="ephemeral", project_config=config)
        suite = gx.ExpectationSuite(name="revs")
        for rule, make in rules.items():
            expectation = make(gx.expectations)
            expectation.meta = {"rule": rule}
            suite.add_expectation(expectation)
        asset = context.data_sources.add_pandas("memory").add_dataframe_asset("rows")
        batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
        return batch.validate(suite, result_format=_RESULT_FORMAT).results


def _indices(result: Any) -> list[int]:
    return [int(entry[_ROW]) for entry in result.result.get("unexpected_index_list") or ()]
