"""Runs a Great Expectations suite as a checkpoint in memory, and says what it found without a value.

A suite is a JSON file in `suites/`, in the format of an `ExpectationSuite`. What differs from batch to batch is a suite
parameter there, `{"$PARAMETER": "context"}`; `meta.parameters` says what each stands for. Lists and regular expressions
may be parameters too (`value_set`, `regex`), as may `min_value`, `max_value` and `mostly`.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from revs.errors import OperationFailed

SUITES = ("requests", "occurrences", "targets")
"""The suites that are files; that on the metrics is made of the bounds of a gate policy."""

_ROW = "row"
_RESULT_FORMAT = {
    "result_format": "COMPLETE",
    "unexpected_index_column_names": [_ROW],
    "partial_unexpected_count": 0,
}
ONE_CONTEXT_AT_A_TIME = threading.Lock()
"""Held while the library works: it keeps its current context process-wide."""


def library() -> Any:
    """Import Great Expectations, which takes seconds, without its analytics."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "False")  # read while the library is imported
    import great_expectations

    return great_expectations


def memory_context(**sites: Any) -> Any:
    """A context that lives in memory: no folder in /tmp, no analytics, no progress bars.

    Args:
        sites: configuration of each Data Docs site.
    """
    gx = library()
    from great_expectations.data_context.types import base

    return gx.get_context(
        mode="ephemeral",
        project_config=base.DataContextConfig(
            store_backend_defaults=base.InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
            progress_bars=base.ProgressBarsConfig(globally=False),
            analytics_enabled=False,
            data_docs_sites=sites,
        ),
    )


def load_suite(name: str) -> dict[str, Any]:
    """Read one of `SUITES` from its file.

    Raises:
        OperationFailed: there is none, or it is no JSON.
    """
    file = resources.files("infra.gates") / "suites" / f"{name}.json"
    try:
        suite: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        kind = type(error).__name__
        raise OperationFailed(f"the suite {name}.json of infra/gates cannot be read ({kind}): install again") from None
    return suite


def run_checkpoint(
    suite: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    *,
    numbers: Sequence[str],
    parameters: Mapping[str, Any],
) -> Any:
    """Validate rows with a suite; the `CheckpointResult` holds values of the rows and is for this process only.

    Args:
        suite: name, expectations (type, kwargs, and meta with the rule) and meta.
        rows: at least one; ids, dates, counts, flags and words from closed lists only.
        numbers: columns of numbers; an empty one would have no type of its own.
        parameters: the value of each suite parameter.
    """
    gx = library()
    import pandas as pd

    frame = pd.DataFrame(rows).astype(dict.fromkeys(numbers, "float64"))
    frame[_ROW] = range(len(frame))
    name = suite["name"]
    with ONE_CONTEXT_AT_A_TIME:
        context = memory_context()
        asset = context.data_sources.add_pandas("memory").add_dataframe_asset("rows")
        definition = gx.ValidationDefinition(
            name=name,
            data=asset.add_batch_definition_whole_dataframe("all"),
            suite=context.suites.add(gx.ExpectationSuite(**suite)),
        )
        checkpoint = gx.Checkpoint(
            name=name,
            validation_definitions=[context.validation_definitions.add(definition)],
            result_format=_RESULT_FORMAT,
        )
        return context.checkpoints.add(checkpoint).run(
            batch_parameters={"dataframe": frame}, expectation_parameters=dict(parameters)
        )


def broken_rows(result: Any) -> dict[str, list[int]]:
    """Indices of the rows that break each rule; only broken rules are in it."""
    (validated,) = result.run_results.values()
    broken: dict[str, list[int]] = {}
    for found in validated.results:
        if found.success is not True:
            rows = [int(entry[_ROW]) for entry in found.result.get("unexpected_index_list") or ()]
            broken.setdefault(_rule(found), []).extend(rows)
    return broken


def checkpoint_summary(result: Any) -> dict[str, Any]:
    """What a checkpoint found, as plain JSON without a value of the rows, to be kept beside a batch's other records.

    Returns:
        `suite`, `success`, and for each of its `rules`: `rule` (the reason given when it is broken), `success`, `rows`
        (that it was asked of) and `broken` (how many broke it; some may, where it must hold for a share of the rows).
    """
    (validated,) = result.run_results.values()
    return summary(validated.suite_name, [_counts(found) for found in validated.results])


def summary(suite: str, rules: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The form of `checkpoint_summary`; without rules where there was no row to ask them of."""
    return {"suite": suite, "success": all(rule["success"] for rule in rules), "rules": [dict(rule) for rule in rules]}


def _counts(found: Any) -> dict[str, Any]:
    return {
        "rule": _rule(found),
        "success": found.success is True,
        "rows": int(found.result.get("element_count", 0)),
        "broken": int(found.result.get("unexpected_count", 0)),
    }


def _rule(found: Any) -> str:
    return str(found.expectation_config.meta["rule"])
