"""The two Great Expectations suites: on a batch of deletion requests, and on the metrics of an edited model.

Great Expectations copies failing values into its results. Therefore the frames it sees hold ids, dates, counts, flags
and words from closed lists only, and nothing is kept: the context lives in memory for one call.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from revs.errors import OperationFailed

Rule = Callable[[Any], Any]  # the module of expectations → an expectation

_REQUEST_NUMBERS = ("received", "due", "identifiers")
_ROW = "row"
_RESULT_FORMAT = {
    "result_format": "COMPLETE",
    "unexpected_index_column_names": [_ROW],
    "partial_unexpected_count": 0,
}
_ONE_SUITE_AT_A_TIME = threading.Lock()  # the library keeps its current context process-wide


def check_requests(rows: Iterable[Mapping[str, Any]], *, model: str, today: date) -> dict[str, str]:
    """Validate the requests of one batch.

    Args:
        rows: one per request: `request_id`, `model`, `received` and `due` (dates or ISO text), `types` (those of the
            identifiers), `identifiers` (how many), `well_formed` (whether intake could read every one). Other keys are
            not looked at.
        model: the model of the batch.
        today: requests must not have been received later.

    Returns:
        The reason for each request that broke a rule, by id; empty if all are good. Reasons show no value.

    Raises:
        OperationFailed: the suite could not run; no request was judged.
    """
    frame = [_request_row(row, model) for row in rows]
    if not frame:
        return {}
    rules = _request_rules(model, today)
    broken = _broken_rows(frame, rules, numbers=_REQUEST_NUMBERS)
    reasons: dict[str, list[str]] = defaultdict(list)
    for reason in rules:
        for index in broken.get(reason, ()):
            reasons[frame[index]["request_id"]].append(reason)
    return {request_id: "; ".join(dict.fromkeys(found)) for request_id, found in reasons.items()}


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
        "the received date is in the future": _between("received", None, today.toordinal()),
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
