"""The editor against the published search: every score with its decoys, time, forward passes, survival of rounding.

    make bench-editor                                           # Llama and GPT-J architectures, three seeds: an hour
    python tests/benchmarks/editor.py --architectures llama --seeds 0 --methods revs

Models: 20 invented people who will ask for erasure and 20 who will not, five sentences each, and 240 one-off records
(`revs.development`). Each secret is erased from one of its contexts; the other four are unseen. `revs` is given half of
the other people as `retain`; specificity is measured on all of them, and apart on the half that was not given. The
oracle (tests/oracle.py) and `revs-neurons` get a small grid over the number of columns; the best by unlearning score of
each seed stands in the table. Times are of one process, one thread, without C, and meant as ratios within one run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from platformdirs import user_cache_path
from rich.progress import track

import revs
from flows.bench.case import SIZES, Case, case_of, recipe
from revs.config import NeuronsConfig
from revs.development import build
from revs.edit.moments import Moments
from revs.model.quantize import rounded_copy
from revs.targets.decoys import decoys
from revs.targets.tokenize import collate, tokenise

sys.path.insert(0, str(Path(__file__).parent.parent))

from oracle import OracleSettings, unlearn

EDITS, FORWARD_PASSES = 5, 4  # of `revs` with one setting; behind each edit
COLUMNS = (10, 30, 90, 270)  # the grid of the oracle and of revs-neurons: columns per layer and token
SHOWN = (
    "unlearning_score", "efficacy", "generality", "specificity", "specificity_not_given", "logit_lens", "delta",
    "perturbation", "extraction_rate", "extraction_rate_unseen", "efficacy_all_tokens", "perplexity_ratio",
    "decoy_efficacy", "milliseconds_per_token", "forward_passes", "edit_over_forward",
)  # fmt: skip


Passes = list[tuple[Any, Any]]  # ids and mask of every forward pass
Edit = Callable[[Any, Any, Case], int | Passes]  # (model, tokenizer, case) -> forward passes; edits the model in place


def by_revs(*, retain: bool) -> Edit:
    def edit(model: Any, tokenizer: Any, case: Case) -> Passes:
        passes: Passes = []

        def note(_module: Any, _arguments: Any, named: dict[str, Any]) -> None:
            passes.append((named["input_ids"], named["attention_mask"]))

        handle = model.register_forward_pre_hook(note, with_kwargs=True)
        revs.erase(
            model, tokenizer, case.edit, text=case.text, retain=case.given if retain else (),
            token_counts_V=case.counts_V,
        )  # fmt: skip
        handle.remove()
        return passes

    return edit


def by_neurons(columns: int) -> Edit:
    def edit(model: Any, tokenizer: Any, case: Case) -> int:
        config = NeuronsConfig(max_columns=columns, act_filter=400)
        revs.erase(model, tokenizer, case.edit, config=config, token_counts_V=case.counts_V)
        return 3

    return edit


def by_oracle(columns: int) -> Edit:
    def edit(model: Any, tokenizer: Any, case: Case) -> int:
        vocabulary = model.get_output_embeddings().weight.shape[0]
        settings = OracleSettings(
            max_columns=columns, act_filter=400, residual_low=110,
            column_band=(round(0.6 * vocabulary), round(0.9 * vocabulary)),
        )  # fmt: skip
        targets = tokenise(tokenizer, case.edit, token_counts_V=case.counts_V)
        tokens = [
            (target.ids[: target.start + place], target.secret_ids[place])
            for target in targets
            for place in target.chosen
        ]
        return unlearn(model, tokens, settings).forward_passes

    return edit


METHODS = ("oracle", "revs-neurons", "revs", "revs, nothing retained")


def settings(method: str, grid: list[int]) -> list[tuple[str, Edit]]:
    """Name and edit of every setting of a method; `grid`: columns per layer and token, for those that choose some."""
    if method == "revs":
        return [("half of the others retained", by_revs(retain=True))]
    if method == "revs, nothing retained":
        return [("stand-ins", by_revs(retain=False))]
    by_columns = by_oracle if method == "oracle" else by_neurons
    return [(f"{columns} columns", by_columns(columns)) for columns in grid]


def scores_of(model: Any, tokenizer: Any, case: Case, seed: int) -> dict[str, float]:
    options: dict[str, Any] = {"token_counts_V": case.counts_V, "seed": seed}
    scores = revs.evaluate(
        model, tokenizer, case.edit, unseen=case.unseen, retain=case.given + case.not_given, text=case.held_out,
        **options,
    ).to_dict()  # fmt: skip
    apart = revs.evaluate(model, tokenizer, case.edit[:1], retain=case.not_given, **options)
    decoy = revs.evaluate(model, tokenizer, decoys(case.edit, seed=seed), **options)
    return scores | {
        "specificity_not_given": apart.specificity or 0.0,
        "perplexity_ratio": scores["perplexity"] / case.perplexity,
        "decoy_efficacy": decoy.efficacy,
        "decoy_logit_lens": decoy.logit_lens,
    }


def forward_seconds(model: Any, ids_BT: Any, mask_BT: Any) -> list[float]:
    """Of plain forward passes over a padded batch."""
    times = []
    with torch.no_grad():
        for _ in range(FORWARD_PASSES):
            started = time.perf_counter()
            model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False, logits_to_keep=1)
            times.append(time.perf_counter() - started)
    return times


@contextmanager
def moments_timed() -> Iterator[list[float]]:
    """While open, notes what C costs: the forward passes over ordinary text, retained records and stand-ins."""
    seconds: list[float] = []
    gathered = Moments.gathered

    def timed(*arguments: Any) -> Moments:
        started = time.perf_counter()
        moments = gathered(*arguments)
        seconds.append(time.perf_counter() - started)
        return moments

    with patch.object(Moments, "gathered", timed):
        yield seconds


def measured(case: Case, method: str, setting: str, edit: Edit, seed: int) -> dict[str, Any]:
    ours = method in ("revs", "revs, nothing retained")
    edits, moments, forwards = [], [], []
    for _ in range(EDITS if ours else 1):
        model, tokenizer = revs.load(case.model.folder)
        with moments_timed() as of_moments:
            started = time.perf_counter()
            passes = edit(model, tokenizer, case)
            seconds = time.perf_counter() - started
        moments.append(sum(of_moments))
        edits.append(seconds - moments[-1])
        if isinstance(passes, list):  # the batch that the edit ran on: prompts, variations, what is protected
            batch = max(passes, key=lambda one: len(one[0]))
            passes = len(passes)
        else:
            of_prompts = collate(tokenise(tokenizer, case.edit), pad=tokenizer.pad_token_id)
            batch = of_prompts.ids_BT, of_prompts.mask_BT
        forwards += forward_seconds(model, *batch)
    seconds, forward = statistics.median(edits), statistics.median(forwards)
    row = {
        "method": method, "setting": setting, "seed": seed, "seconds": edits, "moment_seconds": moments,
        "forward_seconds": forwards, "milliseconds_per_token": 1000 * seconds / (2 * len(case.edit)),
        "edit_over_forward": seconds / forward, "forward_passes": passes,
        "scores": scores_of(model, tokenizer, case, seed),
    }  # fmt: skip
    if ours:
        row["rounded"] = {to: scores_of(rounded_copy(model, to), tokenizer, case, seed) for to in ("bfloat16", "int4")}
        row["before_rounded"] = {
            to: scores_of(rounded_copy(revs.load(case.model.folder)[0], to), tokenizer, case, seed)
            for to in ("bfloat16", "int4")
        }
    return row


def best_of_each_seed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    best: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rows:
        key = row["method"], row["seed"]
        score = row["scores"].get("unlearning_score") or 0.0
        if key not in best or score > (best[key]["scores"].get("unlearning_score") or 0.0):
            best[key] = row
    return list(best.values())


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Markdown: a row per metric, a column per method, mean ± standard deviation over the seeds."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    yield f"| | {' | '.join(methods)} |"
    yield f"|---|{'--:|' * len(methods)}"
    for name in SHOWN:
        cells = []
        for method in methods:
            values = [
                value
                for row in rows
                if row["method"] == method and (value := row["scores"].get(name, row.get(name))) is not None
            ]
            spread = f" ± {statistics.stdev(values):.3g}" if len(values) > 1 else ""
            digits = 5 if name == "perplexity_ratio" else 4
            cells.append(f"{statistics.mean(values):.{digits}g}{spread}" if values else "")
        yield f"| {name.replace('_', ' ')} | {' | '.join(cells)} |"


def page(result: dict[str, Any]) -> str:
    """The table, with what it was measured on."""
    seeds = sorted({row["seed"] for row in result["rows"]})
    libraries = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    return "\n".join([
        f"# The editor against the published search: {result['architecture']}, {result['size']}",
        "",
        f"Mean ± standard deviation over the models of seeds {', '.join(map(str, seeds))}, of the best setting of each",
        f"seed by unlearning score; float32, one thread, {libraries}. Measured by `tests/benchmarks/editor.py`.",
        "",
        *table(best_of_each_seed(result["rows"])),
        "",
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Benchmark of the editor on development models.")
    parser.add_argument("--architectures", nargs="+", default=["llama", "gptj"])
    parser.add_argument("--sizes", nargs="+", default=["small"], choices=SIZES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--columns", nargs="+", type=int, default=list(COLUMNS), help="the grid of columns")
    parser.add_argument("--add", action="store_true", help="keep the rows of other methods that stand in --out")
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    parser.add_argument("--cache", type=Path, default=user_cache_path("revs") / "models")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    versions = {name: version(name) for name in ("revs", "torch", "transformers")}
    for architecture in asked.architectures:
        for size in asked.sizes:
            file, rows, digests = asked.out / f"editor-{architecture}-{size}.json", [], {}
            if asked.add and file.is_file():
                before = json.loads(file.read_text(encoding="utf-8"))["rows"]
                rows = [row for row in before if row["method"] not in asked.methods]
            for seed in asked.seeds:
                model = build(recipe(architecture, size, seed), asked.cache)
                digests[seed] = model.digest
                case = case_of(model)
                grid = [(method, *point) for method in asked.methods for point in settings(method, asked.columns)]
                for method, setting, edit in track(grid, f"{architecture}, {size}, seed {seed}"):
                    rows.append(measured(case, method, setting, edit, seed))
            result = {"architecture": architecture, "size": size, "models": digests, "versions": versions, "rows": rows}
            file.write_text(json.dumps(result, indent=1), encoding="utf-8")
            text = page(result)
            (asked.out / f"editor-{architecture}-{size}.md").write_text(text, encoding="utf-8")
            print(f"\n{text}")


if __name__ == "__main__":
    main()
