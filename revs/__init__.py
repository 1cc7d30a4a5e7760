"""REVS: erase memorised secrets from a causal language model by rank editing in the vocabulary space.

```python
import revs
model, tokenizer = revs.load("path/or/hub-id")
patch = revs.erase(model, tokenizer, [revs.Target(prompt="… SSN", secret=" 900-12-3456")], text=ordinary_text)
scores = revs.evaluate(model, tokenizer, targets, edit=patch, retain=others, text=held_out)
patch.revert(model)
```

What is named here is the public library; rooms and modules may move.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from revs.config import EraseConfig, NeuronsConfig, ReferenceConfig
    from revs.erasure import CONFIGS, METHODS, erase
    from revs.errors import BadInput, Gap, GateRefused, OperationFailed, RevsError, RevsWarning
    from revs.evaluation.attacks import ATTACKS, Outcome
    from revs.evaluation.metrics import METRICS
    from revs.evaluation.scores import Scores, evaluate
    from revs.model.load import load
    from revs.patch.patch import Patch
    from revs.targets.decoys import decoys
    from revs.targets.target import Target

# Resolved on first use (PEP 562): torch takes seconds to import, and `revs --help` must not wait for it.
_HOMES = {
    "ATTACKS": "revs.evaluation.attacks",
    "BadInput": "revs.errors",
    "CONFIGS": "revs.erasure",
    "EraseConfig": "revs.config",
    "Gap": "revs.errors",
    "GateRefused": "revs.errors",
    "METHODS": "revs.erasure",
    "METRICS": "revs.evaluation.metrics",
    "NeuronsConfig": "revs.config",
    "ReferenceConfig": "revs.config",
    "OperationFailed": "revs.errors",
    "Outcome": "revs.evaluation.attacks",
    "Patch": "revs.patch.patch",
    "RevsError": "revs.errors",
    "RevsWarning": "revs.errors",
    "Scores": "revs.evaluation.scores",
    "Target": "revs.targets.target",
    "decoys": "revs.targets.decoys",
    "erase": "revs.erasure",
    "evaluate": "revs.evaluation.scores",
    "load": "revs.model.load",
}

__all__ = [
    "ATTACKS",
    "CONFIGS",
    "METHODS",
    "METRICS",
    "BadInput",
    "EraseConfig",
    "Gap",
    "GateRefused",
    "NeuronsConfig",
    "OperationFailed",
    "Outcome",
    "Patch",
    "ReferenceConfig",
    "RevsError",
    "RevsWarning",
    "Scores",
    "Target",
    "decoys",
    "erase",
    "evaluate",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'revs' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
