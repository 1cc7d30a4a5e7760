"""Where the tokens of secrets stand after each layer: before an edit, after it, and where contexts of nobody have them.

    python tests/benchmarks/reference_picture.py --out docs/benchmarks

Medians over all tokens but separators of 20 secrets of one draw of `tests/benchmarks/reference.py`.
"""

from __future__ import annotations

import argparse
import copy
import warnings
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from platformdirs import user_cache_path

import revs
from flows.bench.case import Case, case_of, recipe
from revs.development import build
from revs.edit.reference import Reference
from revs.edit.token_records import ranks_by_layer
from revs.errors import RevsWarning
from revs.model.families import architecture_of, context_length
from revs.model.hooks import pad_id
from revs.model.vocabulary import Unembedding
from revs.targets.frames import Frames
from revs.targets.tokenize import collate, tokenise

SETTINGS = {
    "after fixed ranks (`revs`)": (revs.EraseConfig(), "#1f77b4", "s-"),
    "after erasing to the reference": (revs.ReferenceConfig(), "#d62728", "o-"),
}


def medians(original: Any, tokenizer: Any, case: Case) -> dict[str, list[float]]:
    """By line of the picture: median rank after each layer."""
    context, pad = context_length(original), pad_id(original, tokenizer)
    own = tokenise(tokenizer, case.edit, tokens_per_secret=None, context=context)
    batch, architecture = collate(own, pad=pad), architecture_of(original)
    frames = Frames(case.edit, case.given, text=case.text)
    nobody = [
        tokenise(tokenizer, frames.of_nobody(target, copies=8, seed=1), tokens_per_secret=None, context=context)
        for target in case.edit
    ]
    reference = Reference.read(
        original, architecture, Unembedding(original, architecture), own, nobody, pad=pad, batch_size=64
    )
    found = {
        "contexts of nobody, before": reference.rank_Ln.median(1).values.tolist(),
        "before": ranks_by_layer(original, architecture, Unembedding(original, architecture), batch)[0]
        .median(1).values.tolist(),
    }  # fmt: skip
    for name, (config, _, _) in SETTINGS.items():
        model = copy.deepcopy(original)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RevsWarning)
            revs.erase(
                model, tokenizer, case.edit, config=config, text=case.text, retain=case.given,
                token_counts_V=case.counts_V,
            )  # fmt: skip
        ranks_LN, _ = ranks_by_layer(model, architecture, Unembedding(model, architecture), batch)
        found[name] = ranks_LN.median(1).values.tolist()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draw", default="llama/medium/3/102", help="architecture/size/digits/seed")
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    parser.add_argument("--cache", type=Path, default=user_cache_path("revs") / "models")
    asked = parser.parse_args()
    architecture, size, digits, seed = asked.draw.split("/")
    model = build(recipe(architecture, size, int(seed), digits=int(digits)), asked.cache)
    original, tokenizer = revs.load(model.folder, dtype="float32", device="cpu")
    styles = {
        "before": ("#555555", "^-"), "contexts of nobody, before": ("#999999", "--"),
        **{name: (colour, line) for name, (_, colour, line) in SETTINGS.items()},
    }  # fmt: skip
    figure = Figure(figsize=(8.5, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, ranks in medians(original, tokenizer, case_of(model)).items():
        colour, line = styles[name]
        axes.plot(range(1, len(ranks) + 1), [rank + 1 for rank in ranks], line, color=colour, label=name)
    axes.set(yscale="log", xlabel="layer", ylabel="median rank + 1 (1: most likely)")
    axes.set_title(f"Where the tokens of secrets stand ({asked.draw})")
    axes.grid(visible=True, color="0.9")
    figure.legend(loc="outside right upper")
    asked.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(asked.out / "reference-ranks.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
