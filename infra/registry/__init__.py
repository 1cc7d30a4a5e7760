"""The model registry, with a narrow face: register, resolve, download, promote, and the evidence behind each version.

MLflow is imported by the first call that needs it, not by importing this package.
"""

from infra.registry.files import carry_over, file_digests
from infra.registry.lineage import missing_batches
from infra.registry.opening import open_registry
from infra.registry.records import ModelVersion
from infra.registry.registry import Registry
from infra.registry.weights import changed_tensors, weight_digest

__all__ = [
    "ModelVersion",
    "Registry",
    "carry_over",
    "changed_tensors",
    "file_digests",
    "missing_batches",
    "open_registry",
    "weight_digest",
]
