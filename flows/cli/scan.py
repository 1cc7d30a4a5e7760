"""`revs scan`: what personal data a corpus holds, and what personal data a model generates."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.common import Home, Json, console, emit, settings_of, showing_stages, table
from flows.cli.erased import corpus_holds, refuse_held, refuse_returned, show_held, show_returned
from flows.cli.requests import store_of

if TYPE_CHECKING:
    from infra.corpus import Corpus, Survey
    from infra.report.scan import ScanSummary
    from infra.requests import ErasedList
    from infra.settings import Settings
    from tasks.corpus.leaks import Leaks
    from tasks.corpus.returned import Returned


SAMPLED_TOKENS = 128  # of a continuation at most; half of a shorter context


def scan(
    corpus: Annotated[
        str | None,
        typer.Argument(help=".txt, .jsonl, .parquet, a folder of these, or an address such as s3://…"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Read what this checkpoint or registered version generates, sampled."),
    ] = None,
    findings: Annotated[Path | None, typer.Option(help="Write every finding as a JSON line, without its text.")] = None,
    report: Annotated[Path | None, typer.Option(help="Folder for scan.html and scan.json.")] = None,
    recognisers: Annotated[
        Path | None, typer.Option(help="YAML file with types, own recognisers, limits …", show_default=False)
    ] = None,
    samples: Annotated[int, typer.Option(help="With --model: continuations to sample.", min=1)] = 1000,
    seed: Annotated[int, typer.Option(help="Of every draw of samples.")] = 0,
    erased: Annotated[
        bool,
        typer.Option(
            "--erased",
            "--suppressed",
            help="Exit 3 if what was erased is generated, or stands there (REVS_KEEP_DIGESTS).",
        ),
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Count the personal data in a corpus, by type and file; or, with --model, in what a model generates unasked.

    With --erased that is compared with the keyed digests of what was erased: from the model of a registered version; of
    a folder or a corpus, from any model. Sampling begins from nothing and from words that call for a type of
    identifier: what a model generates only after a person's name is not seen that way.

    Example: revs scan corpus.parquet --report scan-out
    """
    from infra.corpus import Corpus
    from revs.errors import BadInput

    if corpus is None and model is None:
        raise BadInput("nothing to scan; name a corpus, or a model with --model")
    if model is not None and (findings or report):
        raise BadInput("--findings and --report are of a corpus; leave them out with --model")
    settings = settings_of(home)
    opened = Corpus.open(corpus) if corpus is not None else None
    if model is not None:
        leaks = _leaks(settings, model, opened, recognisers=recognisers, samples=samples, seed=seed, erased=erased)
        _show_leaks(leaks, model, opened, as_json=as_json)
        if leaks.returned is not None:
            refuse_returned(leaks.returned, model, leaks.sampled)
    elif opened is not None:
        if erased:
            _erased(settings, None)
        survey, summary, held = _scan(
            settings, opened, findings, recognisers=recognisers, seed=seed, quiet=as_json, erased=erased
        )
        page = _written(settings, survey, summary, report)
        _show(survey, summary, page, held, as_json=as_json)
        if held is not None:
            refuse_held(held, _printable(survey.name), survey.rows)


def _scan(
    settings: Settings,
    corpus: Corpus,
    findings: Path | None,
    *,
    recognisers: Path | None,
    seed: int,
    quiet: bool,
    erased: bool,
) -> tuple[Survey, ScanSummary, Returned | None]:
    from flows.shards import over_shards
    from infra.report.scan import ScanSummary
    from tasks.batch.evidence import versions
    from tasks.corpus.scan import detector_settings, findings_of, open_scan, put_together, scan_shard, waiting_shards

    started = time.perf_counter()
    folder = str(open_scan(settings, corpus, recognisers=recognisers, seed=seed, erased=erased))
    with showing_stages(quiet=quiet):
        over_shards("scan corpus", scan_shard, folder, lambda: waiting_shards(folder, corpus), settings)
    survey, tally, held = put_together(folder, corpus)
    if findings is not None:
        _write_lines(findings, findings_of(folder, survey))
    shutil.rmtree(folder, ignore_errors=True)
    summary = ScanSummary.of(
        tally,
        corpus={"name": survey.name, "digest": survey.digest, "rows": survey.rows, "ignored": survey.ignored},
        settings=detector_settings(recognisers),
        versions=versions(),
        seconds=round(time.perf_counter() - started, 1),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return survey, summary, held


def _write_lines(path: Path, lines: Any) -> None:
    from revs.errors import OperationFailed

    try:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
    except OSError as error:
        raise OperationFailed(
            f"the findings could not be written to {path} ({error.strerror}); name another file"
        ) from None


def _written(settings: Settings, survey: Survey, summary: ScanSummary, folder: Path | None) -> Path | None:
    """Write the report. It is handed on, so names of files, which the terminal shows, have stand-ins in it."""
    from infra.corpus import StandIns, manifest_of
    from infra.report.scan import write_scan_report
    from tasks.batch.corpus import pseudonyms

    if folder is None:
        return None
    pseudonym = pseudonyms(settings)
    names = StandIns(survey, pseudonym)
    return write_scan_report(summary.handed_on(names.file, manifest_of(survey, pseudonym)), folder)


def _show(survey: Survey, summary: ScanSummary, page: Path | None, held: Returned | None, *, as_json: bool) -> None:
    from infra.corpus import unread_summary

    counts = [
        {"file": file, "type": type_, "findings": count}
        for file, found in summary.by_file.items()
        for type_, count in found.items()
    ]
    if as_json:
        emit(
            {
                "rows": survey.rows,
                "digest": survey.digest,
                "complete": summary.complete,
                "findings": summary.findings,
                "counts": counts,
                "not_read": [asdict(left) for left in summary.not_read],
                "unread": [asdict(unread) for unread in survey.unread],
                "report": str(page) if page else None,
                **({} if held is None else {"erased": corpus_holds(held)}),
            }
        )
        return
    unread = unread_summary(survey.unread)
    left_out = f"; {unread} could not be read" if unread else ""
    shown = [{**count, "file": _printable(str(count["file"]))} for count in counts]
    table(f"personal data in {_printable(survey.name)} ({survey.rows} rows{left_out})", shown)
    known = {(unread.file, unread.reason) for unread in survey.unread}
    stopped = (
        f"{left.file!r}: {left.reason} ({left.rows} rows)"
        for left in summary.not_read
        if left.partly and (left.file, left.reason) not in known
    )
    for what in (*map(_printable, survey.ignored), *survey.unread, *stopped):
        console().print(f"not read: {what}", style="yellow")
    if not summary.findings and summary.complete:
        console().print("no personal data was found; every row was read")
    if held is not None:
        show_held(held, survey.rows)
    if page is not None:
        console().print(f"report: {page}")


def _printable(name: str) -> str:
    """A file name for a terminal: what is no UTF-8 in it is escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


def _leaks(
    settings: Settings,
    model: str,
    corpus: Corpus | None,
    *,
    recognisers: Path | None,
    samples: int,
    seed: int,
    erased: bool,
) -> Leaks:
    import revs
    from infra.detection import Detector
    from infra.device import resolve_device
    from infra.registry import open_registry
    from revs.discover.prompts import openings
    from revs.discover.sample import Sampling
    from revs.model.families import context_length
    from tasks.corpus.leaks import find_leaks
    from tasks.versions.lineage import require_signature_kept

    folder, name = Path(model), None
    if not folder.exists():
        registry = open_registry(settings)
        version = registry.resolve(model)
        require_signature_kept(store_of(settings), version)
        folder, name = registry.download(version), version.name
    listed = _erased(settings, name) if erased else None
    loaded, tokenizer = revs.load(folder, dtype="auto", device=resolve_device(settings.device))
    detector = Detector.from_file(recognisers) if recognisers else Detector()
    # Half of the continuations go on from nothing, half from words that call for one of the types.
    prompts = [prompt for opening in openings(detector.config.types) for prompt in ("", opening)] or [""]
    return find_leaks(
        loaded, tokenizer, detector=detector, corpus=corpus, prompts=prompts, erased=listed,
        sampling=Sampling(count=samples, seed=seed, length=min(SAMPLED_TOKENS, context_length(loaded) // 2)),
    )  # fmt: skip


def _erased(settings: Settings, name: str | None) -> ErasedList:
    """The list of what was erased; one that is empty because nothing is ever put on it would always say all is well."""
    from revs.errors import BadInput

    listed = store_of(settings).erased(name)
    if not listed and not settings.keep_digests:
        raise BadInput(
            f"no digest of what was erased{f' from {name}' if name else ''} is kept here; set REVS_KEEP_DIGESTS=true "
            "where batches run, and those that complete from then on are compared"
        )
    return listed


def _show_leaks(leaks: Leaks, model: str, corpus: Corpus | None, *, as_json: bool) -> None:
    from infra.corpus import unread_summary

    unread = "" if corpus is None else unread_summary(corpus.unread)
    if as_json:
        emit({"model": model, **asdict(leaks), "corpus_unread": unread})
        return
    rows: list[Mapping[str, Any]] = [
        {
            "type": found.type,
            "said": found.findings,
            "distinct": found.distinct,
            "in the corpus": "" if found.in_corpus is None else found.in_corpus,
            "such as": ", ".join(found.samples),
        }
        for found in leaks.types
    ]
    table(f"personal data in {leaks.sampled} continuations of {model}, {leaks.with_findings} with any", rows)
    if unread:
        console().print(
            f"{unread} of the corpus could not be read; what the model generates may stand there too", style="yellow"
        )
    if leaks.returned is not None:
        show_returned(leaks.returned, leaks.sampled)
