"""REVS: erase memorised secrets from a causal language model by rank editing in the vocabulary space.

```python
import revs
model, tokenizer = revs.load("path/or/hub-id")
patch = revs.erase(model, tokenizer, [revs.Target(prompt="… SSN", secret=" 900-12-3456")], text=ordinary_text)
scores = revs.evaluate(model, tokenizer, targets, retain=others, text=held_out)
patch.revert(model)
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from revs.config import EraseConfig
    from revs.erasure import METHODS, erase
    from revs.evaluation.scores import Scores, evaluate
    from revs.model.load import load
    from revs.patch.patch import Patch
    from revs.targets.target import Target

__all__ = ["METHODS", "EraseConfig", "Patch", "Scores", "Target", "erase", "evaluate", "load"]

# Resolved on first use (PEP 562): torch takes seconds to import, and `revs --help` must not wait for it.
_HOMES = {
    "METHODS": "revs.erasure",
    "EraseConfig": "revs.config",
    "Patch": "revs.patch.patch",
    "Scores": "revs.evaluation.scores",
    "Target": "revs.targets.target",
    "erase": "revs.erasure",
    "evaluate": "revs.evaluation.scores",
    "load": "revs.model.load",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'revs' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
