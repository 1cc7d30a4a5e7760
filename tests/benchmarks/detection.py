"""Detection of personal data: how good and how fast, beside Presidio as it comes.

Both read the same labelled documents (labelled.py) in one process. A finding counts when type and place are exactly
those of the label. Presidio stands in twice: its answers as they are, and those of a score of 0.4 or more without the
parts of longer ones, as our detector gives them. Speed is in documents per second of processor time, and is also
taken for Presidio's engine with our own recognisers, whose findings have to be ours.

Beside the documents, families of look-alikes (lookalikes.py) are shown one by one in a sentence, and it is counted
which of them are taken for personal data. A row of digits can be both: "03470-5573" is a German phone number.

    python tests/benchmarks/detection.py --documents 10000 --seed 0 1 --out docs/benchmarks
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from labelled import HELD_OUT, Labelled, corpus
from lookalikes import FAMILIES, of_family
from presidio_engine import blank_nlp_engine, presidio_engine

from infra.detection import DEFAULT_MIN_SCORE, DEFAULT_TYPES, Detector, Finding, without_parts
from infra.detection.readings import in_readings
from infra.detection.shapes import suffixes

TURN = 20
WARM_UP = 100
"""Documents read before the clock starts: expressions are compiled at their first use."""

Place = tuple[int, int, str]
Finder = Callable[[str], list[Finding]]


def presidio_as_it_comes() -> Any:
    """Presidio's engine with its own recognisers of these types, offline: the list of suffixes is the packed one."""
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer import predefined_recognizers as own

    email = own.EmailRecognizer()
    email.validate_result = lambda address: suffixes()(address).fqdn != ""
    others = (own.UsSsnRecognizer, own.PhoneRecognizer, own.UrlRecognizer, own.CreditCardRecognizer)
    recognisers = [email, *(kind() for kind in (*others, own.IbanRecognizer, own.IpRecognizer))]
    registry = RecognizerRegistry(recognisers, supported_languages=["en"])
    return AnalyzerEngine(registry=registry, nlp_engine=blank_nlp_engine(), supported_languages=["en"])


def findings_of(engine: Any, text: str, min_score: float) -> list[Finding]:
    """What a Presidio engine finds, in our form."""
    results = engine.analyze(text, language="en", entities=None, score_threshold=min_score)
    return [Finding(start=r.start, end=r.end, type=r.entity_type, score=float(r.score)) for r in results]


def timed(finders: Sequence[Finder], documents: Sequence[Labelled]) -> tuple[list[list[list[Finding]]], list[float]]:
    """For each finder its findings in each document, and its documents per second of processor time.

    The finders take turns every `TURN` documents, so that what else runs on the machine slows all of them alike.
    """
    for find in finders:
        for document in documents[:WARM_UP]:
            find(document.text)
    found: list[list[list[Finding]]] = [[] for _ in finders]
    seconds = [0.0 for _ in finders]
    for first in range(0, len(documents), TURN):
        for number, find in enumerate(finders):
            started = time.process_time()
            found[number] += [find(document.text) for document in documents[first : first + TURN]]
            seconds[number] += time.process_time() - started
    return found, [len(documents) / max(spent, 1e-9) for spent in seconds]


def quality(documents: Iterable[Labelled], found: Iterable[Iterable[Finding]]) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 (0 to 1) of each type, and how many labels there are."""
    counts: Counter[tuple[str, str]] = Counter()
    for document, findings in zip(documents, found, strict=True):
        labels: set[Place] = set(document.spans)
        given: set[Place] = {(f.start, f.end, f.type) for f in findings}
        for kind, places in (("hit", labels & given), ("missed", labels - given), ("wrong", given - labels)):
            counts.update((type_, kind) for _, _, type_ in places)
    return {type_: _scores(*(counts[type_, kind] for kind in ("hit", "missed", "wrong"))) for type_ in DEFAULT_TYPES}


def _scores(hit: int, missed: int, wrong: int) -> dict[str, float]:
    return {
        "precision": hit / max(hit + wrong, 1),
        "recall": hit / max(hit + missed, 1),
        "f1": 2 * hit / max(2 * hit + wrong + missed, 1),
        "labels": hit + missed,
    }


def measure(count: int, seed: int) -> dict[str, Any]:
    """Quality and speed of the three, and whether ours finds what Presidio's engine finds with the same recognisers."""
    documents = list(corpus(count, seed=seed))
    detector, theirs = Detector(), presidio_as_it_comes()
    same = presidio_engine(detector.recognisers)
    finders: list[Finder] = [
        detector.find,
        lambda text: findings_of(theirs, text, 0.0),
        lambda text: in_readings(text, lambda reading: findings_of(same, reading, DEFAULT_MIN_SCORE)),
    ]
    (ours, raw, engine), (our_speed, their_speed, engine_speed) = timed(finders, documents)
    strong = [without_parts(f for f in findings if f.score >= DEFAULT_MIN_SCORE) for findings in raw]
    held = [number for number, document in enumerate(documents) if document.style in HELD_OUT]
    return {
        "documents": count,
        "seed": seed,
        "characters": sum(len(document.text) for document in documents),
        "quality": {
            "ours": quality(documents, ours),
            "ours, held-out styles": quality([documents[n] for n in held], [ours[n] for n in held]),
            "presidio": quality(documents, raw),
            "presidio, 0.4 and whole": quality(documents, strong),
        },
        "documents_per_second": {
            "ours": our_speed,
            "presidio's engine, our recognisers": engine_speed,
            "presidio": their_speed,
        },
        "same_findings_as_the_engine": engine == ours,
    }


def false_alarms(count: int, seed: int) -> dict[str, dict[str, float]]:
    """For each family of look-alikes the share of which something is taken for personal data, by ours and Presidio."""
    detector, theirs = Detector(), presidio_as_it_comes()
    finders: dict[str, Finder] = {
        "ours": detector.find,
        "presidio, 0.4": lambda text: findings_of(theirs, text, DEFAULT_MIN_SCORE),
    }
    shares: dict[str, dict[str, float]] = {}
    for family in FAMILIES:
        make = of_family(family, random.Random(seed))
        texts = [f"It says {make()} here." for _ in range(count)]
        shares[family] = {name: sum(bool(find(text)) for text in texts) / count for name, find in finders.items()}
    return shares


def markdown(result: dict[str, Any]) -> str:
    """The results as a page."""
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    lines = [
        "# Detection, measured",
        "",
        f"`{result['command']}`, {result['date']}; {versions}; {result['machine']}, one core.",
        "",
        "A finding counts when type and place are exactly those of the label; precision / recall / F1 in percent.",
        "",
        *(line for run in result["runs"] for line in _of_run(run)),
        f"Look-alikes taken for personal data, of {result['lookalikes']} in each family, in percent:",
        "",
        "| family | ours | presidio, 0.4 |",
        "|---|--:|--:|",
    ]
    for family, shares in result["false_alarms"].items():
        lines.append(f"| {family} | {100 * shares['ours']:.1f} | {100 * shares['presidio, 0.4']:.1f} |")
    return "\n".join([*lines, ""])


def _of_run(result: dict[str, Any]) -> list[str]:
    kinds = list(result["quality"])
    lines = [
        f"## {result['documents']} documents, seed {result['seed']}",
        "",
        f"| type | labels | {' | '.join(kinds)} |",
        f"|---|--:|{'--:|' * len(kinds)}",
    ]
    for type_ in DEFAULT_TYPES:
        cells = (result["quality"][kind][type_] for kind in kinds)
        shown = (f"{100 * c['precision']:.1f} / {100 * c['recall']:.1f} / **{100 * c['f1']:.1f}**" for c in cells)
        lines.append(f"| {type_} | {result['quality']['ours'][type_]['labels']} | {' | '.join(shown)} |")
    lines += ["", "| | documents/s | ours is faster by |", "|---|--:|--:|"]
    speeds = result["documents_per_second"]
    lines += [f"| {name} | {speed:.0f} | {speeds['ours'] / speed:.1f} |" for name, speed in speeds.items()]
    same = "the same" if result["same_findings_as_the_engine"] else "NOT the same"
    return [*lines, "", f"Findings of Presidio's engine with our recognisers: {same}.", ""]


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description="Quality and speed of detection beside Presidio as it comes.")
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--lookalikes", type=int, default=1000, help="how many of each family")
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    asked = parser.parse_args(arguments)
    seeds = " ".join(map(str, asked.seed))
    result = {
        "command": f"python tests/benchmarks/detection.py --documents {asked.documents} --seed {seeds}",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "versions": {name: version(name) for name in ("revs", "presidio-analyzer", "phonenumbers", "tldextract")},
        "lookalikes": asked.lookalikes,
        "runs": [measure(asked.documents, seed) for seed in asked.seed],
        "false_alarms": false_alarms(asked.lookalikes, asked.seed[0]),
    }
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "detection.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    (asked.out / "detection.md").write_text(markdown(result), encoding="utf-8")
    print(markdown(result))
    return result


if __name__ == "__main__":
    main()
