"""How long `revs process` takes and how much memory, on a small and on a large corpus of the same model.

The corpus of a GPT-J model trained on the spot, and beside it paragraphs again and again up to the size asked for. The
peak is the largest resident memory of any process that the command starts; torch, MLflow, Prefect and the model take
about 1.1e9 bytes of it whatever is read.

    python tests/benchmarks/process.py --megabytes 2 200 --out bench-out
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).parent))

from conditions import conditions, heading
from platformdirs import user_cache_path

if TYPE_CHECKING:
    from revs.development import DevelopmentModel, Recipe

MEGABYTE = 1_000_000
REVS = Path(sys.executable).parent / "revs"
PEAK = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
open(sys.argv[1], "w").write(str(peak))
sys.exit(code)
"""


def recipe() -> Recipe:
    """Of a model that is trained in well under a minute and still memorises its people."""
    from revs.development import Recipe

    return Recipe(
        architecture="gptj", requesters=4, retained=16, one_off=150, hidden_size=128, intermediate_size=512, heads=4,
        ordinary_paragraphs=1000, held_out_paragraphs=700, epochs=36,
    )  # fmt: skip


def write_corpus(model: DevelopmentModel, folder: Path, megabytes: int) -> Path:
    """A folder of JSON Lines: the corpus of the model, and beside it a hundred pairs of paragraphs again and again."""
    folder.mkdir()
    own = folder / "corpus.jsonl"
    own.write_text("".join(json.dumps({"text": text}) + "\n" for text in model.corpus()), encoding="utf-8")
    size, rows = own.stat().st_size, model.ordinary
    with (folder / "more.jsonl").open("w", encoding="utf-8") as file:
        for number in count():
            if size >= megabytes * MEGABYTE:
                break
            first, other = rows[number % 100], rows[100 + number % 100]
            size += file.write(json.dumps({"text": f"{first} {other}"}) + "\n")
    return folder


def write_requests(model: DevelopmentModel, path: Path) -> Path:
    """A CSV file: one deletion request for each identifier of the requesters."""
    values = dict.fromkeys((r.person, r.type, r.value) for r in model.records if r.kind == "requester")
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["subject", "received", "type", "value"])
        table.writerows([f"employee {person}", "2026-10-05", type_, value] for person, type_, value in values)
    return path


def write_held_out(model: DevelopmentModel, path: Path) -> Path:
    path.write_text("\n".join(model.held_out[:100]), encoding="utf-8")
    return path


def run(model: DevelopmentModel, megabytes: int) -> dict[str, Any]:
    """One run in an installation of its own."""
    with tempfile.TemporaryDirectory() as folder:
        root, peak = Path(folder), Path(folder) / "peak"
        # To fixed ranks: to the reference the few numbers of this small model stay likelier than chance, so no setting
        # passes the gates, and all would be tried.
        environment = {"PATH": os.environ["PATH"], "HOME": folder, "OMP_NUM_THREADS": "1", "REVS_METHOD": "revs"}
        command = [
            sys.executable, "-c", PEAK, peak, REVS, "process", "--model", model.folder, "--name", "own", "--json",
            "--corpus", write_corpus(model, root / "corpus", megabytes),
            "--held-out", write_held_out(model, root / "held-out.txt"),
            "--requests", write_requests(model, root / "requests.csv"),
        ]  # fmt: skip
        started = time.perf_counter()
        done = subprocess.run(list(map(str, command)), env=environment, cwd=root, capture_output=True, check=False)
        return {
            "megabytes": megabytes,
            "exit_code": done.returncode,
            "seconds": time.perf_counter() - started,
            "peak_bytes": int(peak.read_text(encoding="utf-8")),
        }


def markdown(result: dict[str, Any]) -> str:
    lines = heading("`revs process` by size of the corpus", result["conditions"])
    lines += ["| MB of text | exit code | seconds | peak, 10⁹ bytes |", "|--:|--:|--:|--:|"]
    lines += [
        f"| {r['megabytes']} | {r['exit_code']} | {r['seconds']:.0f} | {r['peak_bytes'] / 1e9:.2f} |"
        for r in result["results"]
    ]
    return "\n".join([*lines, ""])


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    from revs.development import build

    parser = argparse.ArgumentParser(description="Time and memory of `revs process` by size of the corpus.")
    parser.add_argument("--megabytes", type=int, nargs="+", default=[2, 200])
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    parser.add_argument("--cache", type=Path, default=user_cache_path("revs") / "models")
    asked = parser.parse_args(arguments)
    model = build(recipe(), asked.cache)
    result = {
        "model": model.digest,
        "results": [run(model, size) for size in asked.megabytes],
        "conditions": conditions("torch", "transformers", "prefect", "mlflow"),
    }
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "process.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    (asked.out / "process.md").write_text(markdown(result), encoding="utf-8")
    print(markdown(result))
    return result


if __name__ == "__main__":
    main()
