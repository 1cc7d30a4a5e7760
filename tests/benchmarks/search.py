"""Tries every setting of `settings.SEARCH` on a validation model and prints the scores: one line of JSON per setting.

    python tests/benchmarks/search.py                                     # all methods: about a quarter of an hour
    python tests/benchmarks/search.py --methods npo rmu --architecture gptj

Seconds are processor time of the edit. The validation model has a seed of its own; the settings found on it are for
models of other seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, fields
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from platformdirs import user_cache_path

sys.path.insert(0, str(Path(__file__).parent))

import editor
from settings import SEARCH

import revs
from revs.config import EraseConfig
from revs.development import build

SHOWN = ("unlearning_score", "efficacy", "generality", "specificity", "logit_lens", "extraction_rate", "perplexity")


def told(config: EraseConfig) -> dict[str, Any]:
    """The settings that are the method's own."""
    shared = {field.name for field in fields(EraseConfig)}
    return {name: value for name, value in asdict(config).items() if name not in shared}


def tried(case: editor.Case, method: str, config: EraseConfig) -> dict[str, Any]:
    model, tokenizer = revs.load(case.model.folder)
    started = time.process_time()
    revs.erase(
        model, tokenizer, case.edit, config=config, text=case.text, retain=case.given, token_counts_V=case.counts_V
    )
    seconds = time.process_time() - started
    scores = revs.evaluate(
        model, tokenizer, case.edit, unseen=case.unseen, retain=case.given + case.not_given, text=case.held_out,
        token_counts_V=case.counts_V,
    ).to_dict()  # fmt: skip
    shown = {name: round(scores[name] or 0.0, 1) for name in SHOWN}
    return {"method": method, "setting": told(config), "seconds": round(seconds, 1), **shown}


def main() -> None:
    parser = argparse.ArgumentParser(description="Search of the rival methods' settings on one development model.")
    parser.add_argument("--architecture", default="llama", choices=["llama", "gptj"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--methods", nargs="+", default=list(SEARCH), choices=SEARCH)
    parser.add_argument("--cache", type=Path, default=user_cache_path("revs") / "models")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    case = editor.case_of(build(editor.recipe(asked.architecture, "small", asked.seed), asked.cache))
    # One setting of each method, then the next: a search that is cut short has given every method the same.
    for settings in zip_longest(*(SEARCH[method] for method in asked.methods)):
        for method, config in zip(asked.methods, settings, strict=True):
            if config is not None:
                print(json.dumps(tried(case, method, config)), flush=True)


if __name__ == "__main__":
    main()
