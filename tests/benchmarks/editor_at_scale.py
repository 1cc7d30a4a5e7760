"""The cost of an edit at the shape of a large model, on random weights: time against one forward pass, and memory.

    python tests/benchmarks/editor_at_scale.py --device cuda            # the shape of Llama-3-8B, bfloat16: 16 GB
    python tests/benchmarks/editor_at_scale.py --hidden 256 --layers 4  # small, on the CPU

Random weights remember nobody, so the target tokens are made likely by the choice of the secrets: each is what the
model itself ranks first, read token by token. The oracle's share is its inner loop (tests/oracle.py, one column: logits
of all V tokens, projected back with the pseudo-inverse) on the same tensors, where the pseudo-inverse fits.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from oracle import OracleSettings, adjust_rank, vocabulary_of

from revs.config import EraseConfig
from revs.edit.aim import FixedRanks
from revs.edit.constraints import Protection
from revs.edit.moments import Moments
from revs.edit.sweep import JointEdit
from revs.model.families import architecture_of
from revs.model.vocabulary import Unembedding
from revs.targets.tokenize import TokenisedTarget


def new_model(asked: argparse.Namespace) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=asked.vocabulary, hidden_size=asked.hidden, intermediate_size=round(3.5 * asked.hidden),
        num_hidden_layers=asked.layers, num_attention_heads=asked.hidden // 128 or 1,
        num_key_value_heads=asked.hidden // 512 or 1, max_position_embeddings=1024, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(asked.seed)
    with torch.device(asked.device):
        previous = torch.get_default_dtype()
        torch.set_default_dtype(getattr(torch, asked.dtype))
        model = LlamaForCausalLM(config)
        torch.set_default_dtype(previous)
    return model.eval()


def memorised(model: Any, targets: int, tokens: int, seed: int) -> list[TokenisedTarget]:
    """Random prompts of `tokens` tokens, each with a secret of four that the model itself says; two of them chosen."""
    draw = torch.Generator().manual_seed(seed)
    ids_BT = torch.randint(0, model.config.vocab_size, (targets, tokens), generator=draw).to(model.device)
    with torch.no_grad():
        for _ in range(4):
            following_B = model(input_ids=ids_BT, use_cache=False, logits_to_keep=1).logits[:, -1].argmax(-1)
            ids_BT = torch.cat([ids_BT, following_B[:, None]], dim=1)
    return [TokenisedTarget(ids=tuple(row), start=tokens, chosen=(1, 3)) for row in ids_BT.tolist()]


def seconds(action: Callable[[], Any], device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    started = time.perf_counter()
    action()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - started


def peak_bytes(device: str) -> int:
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    model = new_model(asked)
    architecture = architecture_of(model)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    targets = memorised(model, asked.targets, asked.tokens, asked.seed)
    low = max(1, asked.vocabulary // 1000)
    config = EraseConfig(low_rank=low, aim_rank=2 * low, sweeps=asked.sweeps)
    before = peak_bytes(asked.device)
    moved = [target.secret_ids[place] for target in targets for place in target.chosen]
    unembedding = Unembedding(model, architecture, moved_T=torch.tensor(sorted(set(moved))), isolation=config.isolation)
    moments = Moments(model, architecture, config.retain_weight)  # without text: the identity
    rows = memorised(model, asked.protected, asked.tokens, asked.seed + 1)
    protection = Protection.read(model, architecture, unembedding, rows, [], pad=0, batch_size=config.batch_size)
    aim = FixedRanks(config, unembedding, layers=asked.layers, tokens=len(moved))
    edit = JointEdit(
        model, architecture, unembedding, config, moments.of, targets, list(targets) * asked.variations, protection,
        aim, pad=0,
    )  # fmt: skip
    ids, mask = edit.batch.ids_BT, edit.batch.mask_BT

    def forward() -> None:
        with torch.no_grad():
            model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=1)

    forward()
    once = min(seconds(forward, asked.device) for _ in range(3))
    whole = seconds(lambda: edit.settle(None), asked.device)
    records = edit.records(range(len(targets)))
    result = {
        "shape": {name: getattr(asked, name) for name in ("vocabulary", "hidden", "layers", "targets", "tokens")},
        "device": torch.cuda.get_device_name() if asked.device.startswith("cuda") else "cpu",
        "dtype": asked.dtype, "torch": torch.__version__, "date": time.strftime("%Y-%m-%d"),
        "weight_bytes": weights, "extra_bytes": peak_bytes(asked.device) - before,
        "forward_seconds": once, "edit_seconds": whole, "edit_over_forward": whole / once, "sweeps": edit.sweeps,
        "seconds_per_token": whole / len(records),
        "reached": sum(record.stopped == "reached" for record in records), "tokens": len(records),
    }  # fmt: skip
    if asked.oracle:
        result["oracle_seconds_per_column"] = _oracle_column(model, targets[0], low)
    return result


def _oracle_column(model: Any, target: TokenisedTarget, low: int) -> float:
    vocabulary = vocabulary_of(model)
    column = model.model.layers[0].mlp.down_proj.weight[:, 0].detach()
    size = model.config.vocab_size
    settings = OracleSettings(
        max_columns=1, act_filter=1, residual_low=low, column_band=(round(0.6 * size), round(0.9 * size))
    )
    return seconds(lambda: adjust_rank(column, target.secret_ids[1], vocabulary, settings), "cpu")


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description="Cost of an edit at the shape of a large model.")
    parser.add_argument("--vocabulary", type=int, default=128_256)
    parser.add_argument("--hidden", type=int, default=4096)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--targets", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--variations", type=int, default=EraseConfig().variations)
    parser.add_argument("--protected", type=int, default=64, help="records whose tokens no layer may bring down")
    parser.add_argument("--sweeps", type=int, default=3)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--oracle", action="store_true", help="also time one column of the oracle")
    result = measure(parser.parse_args(arguments))
    print(json.dumps(result, indent=1))
    return result


if __name__ == "__main__":
    main()
