"""What registering and verifying a large checkpoint costs: bytes written, memory, and time beside `cp` and `sha256sum`.

The checkpoint is a Llama of random bfloat16 weights, the candidate the same with some numbers of a shard changed. Each
step runs in a process of its own, whose resident memory and whose bytes written to the disk the kernel counts
(/proc/PID/status, its peak set back before the step; /proc/PID/io; Linux). getrusage is not asked: its peak of a new
process is at least that of the one that started it.

    python tests/benchmarks/registering.py --gigabytes 2 --out bench-out
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from conditions import conditions, heading
from registered import evidence_of, make_checkpoint

if TYPE_CHECKING:
    from infra.registry import Registry

SHARD_BYTES = 500_000_000
BATCH = "B-20261130-0a1b2c"


def enlarge(folder: Path, size: int) -> Path:
    """Put random weights of about so many bytes beside those of a tiny checkpoint, in shards as `save_pretrained` does.

    The registry reads files and tensors and builds no model, so they need not be those of its architecture.
    """
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    first = (folder / "model.safetensors").rename(folder / "model-00001.safetensors")
    with safe_open(first, "pt") as file:
        weight_map = dict.fromkeys(file.keys(), first.name)
    shards = max(1, round(size / SHARD_BYTES))
    shape = (size // shards // 10 // 2,)
    for shard in range(shards):
        name = f"model-{shard + 2:05}.safetensors"
        tensors = {
            f"more.{shard}.{number}": torch.randint(-999, 999, shape, dtype=torch.int16).view(torch.bfloat16)
            for number in range(10)
        }
        save_file(tensors, folder / name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def change(folder: Path) -> None:
    """Change the last bytes of the last shard, which are some of a weight's."""
    with max(folder.glob("*.safetensors")).open("r+b") as file:
        file.seek(-8, 2)
        file.write(bytes(range(8)))


def written() -> int:
    """Bytes that this process has sent to a disk, or to pages that will be written to one."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["write_bytes"])


def resident(what: str) -> int:
    """Bytes of memory of this process now (`VmRSS`), or the most that it had (`VmHWM`), pages of files among them."""
    found = re.search(rf"^{what}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), flags=re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def forget_the_peak() -> None:
    """The most memory that this process had counts from now on (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def register(registry: Registry, folder: Path) -> None:
    registry.register_base(folder, name="large", corpus="corpus")


def candidate(registry: Registry, folder: Path) -> None:
    champion = registry.champion("large")
    evidence = evidence_of(
        "large",
        before=champion.version,
        weights_before=str(champion.weights),
        weights_after=digest_beside(folder).read_text(),
    )
    registry.register_candidate(
        folder.with_name("edited"), parent=champion, batch_id=BATCH, lineage={}, metrics={}, evidence=evidence
    )


def digest_beside(folder: Path) -> Path:
    """Where the digest of the edited weights is, which a batch has from its edit."""
    return folder.with_name("edited.digest")


def verify(registry: Registry, _: Path) -> None:
    registry.download(registry.champion("large"))


STEPS = {"register": register, "register a candidate": candidate, "verify": verify}


def _run(work: Callable[[Registry, Path], None], home: Path, folder: Path, tiny: Path, found: Connection) -> None:
    from infra.registry import open_registry
    from infra.settings import Settings

    registry = open_registry(Settings(home=home))
    registry.register_base(
        tiny, name=f"tiny-{work.__name__}", corpus="corpus"
    )  # all is imported, and the database has its tables
    registry.download(registry.champion(f"tiny-{work.__name__}"))
    before, imported, start = written(), resident("VmRSS"), perf_counter()
    forget_the_peak()
    work(registry, folder)
    seconds, peak = perf_counter() - start, resident("VmHWM")
    found.send({"seconds": seconds, "written": written() - before, "more": peak - imported, "imported": imported})


def measured(work: Callable[[Registry, Path], None], home: Path, folder: Path, tiny: Path) -> dict[str, float]:
    """Seconds, bytes written and peak memory of a step, in a process of its own."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(work, home, folder, tiny, theirs))
    process.start()
    found: dict[str, float] = ours.recv()
    process.join()
    return found


def command(*words: str | Path) -> float:
    start = perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - start


def page(result: dict[str, Any]) -> str:
    """The figures as a table."""
    lines = heading(f"Registering a checkpoint of {result['bytes'] / 1e9:.2f} GB", result["conditions"])
    lines += [
        "| | seconds | of `cp` and twice `sha256sum` | written, of its bytes | memory, MB | that of imports, MB |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    beside = result["cp"] + 2 * result["sha256sum"]
    for what in STEPS:
        row = result[what]
        lines.append(
            f"| {what} | {row['seconds']:.1f} | {row['seconds'] / beside:.2f} | {row['written'] / result['bytes']:.2f} "
            f"| {row['more'] / 1e6:.0f} | {row['imported'] / 1e6:.0f} |"
        )
    lines += ["", f"`cp -r` took {result['cp']:.1f} s, `sha256sum` {result['sha256sum']:.1f} s.", ""]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    from infra.registry import weight_digest

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="revs-registering-") as scratch:
        root = Path(scratch)
        (home := root / "home").mkdir()
        tiny = make_checkpoint(root / "tiny", 0)
        folder = enlarge(make_checkpoint(root / "large", 0), int(options.gigabytes * 1e9))
        weights = sorted(folder.glob("*.safetensors"))
        result: dict[str, Any] = {
            "conditions": conditions("mlflow", "model-signing"),
            "bytes": sum(path.stat().st_size for path in weights),
            "sha256sum": command("sha256sum", *weights),
            "cp": command("cp", "-r", folder, root / "copy"),
        }
        shutil.rmtree(root / "copy")
        change(edited := shutil.copytree(folder, root / "edited"))
        digest_beside(folder).write_text(weight_digest(edited))
        for what, work in STEPS.items():
            result[what] = measured(work, home, folder, tiny)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "registering.json").write_text(json.dumps(result, indent=1))
    (options.out / "registering.md").write_text(text := page(result))
    print(text)  # what a benchmark is for
    return result


if __name__ == "__main__":
    main()
