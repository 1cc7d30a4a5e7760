"""Which batches a version carries: a version that lacks one still holds what that batch erased."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from infra.registry.records import NEW_ROOT, ModelVersion

_BATCHES_IN_A_TAG = 40  # ids have at most 100 characters, a tag 5,000


def missing_batches(
    ancestry: Sequence[ModelVersion], completed: Iterable[tuple[str, str]]
) -> tuple[tuple[str, str], ...]:
    """Find the completed batches whose erasure a version lacks.

    Args:
        ancestry: the version and what it was made from, as `Registry.ancestry` gives them.
        completed: (batch id, number of the version it made) of the model's completed batches.

    Returns:
        Those of `completed` whose version is no ancestor, and which no ancestor was declared to supersede.
    """
    carried = {version.version for version in ancestry}
    superseded = {batch for version in ancestry for batch in superseded_batches(version.tags)}
    return tuple((batch, made) for batch, made in completed if made not in carried and batch not in superseded)


def root_tags(batches: Sequence[str]) -> dict[str, str]:
    """Tags that declare a version a new root: its training data lacks what these batches erased."""
    parts = [batches[start : start + _BATCHES_IN_A_TAG] for start in range(0, len(batches), _BATCHES_IN_A_TAG)]
    return {NEW_ROOT if n == 0 else f"{NEW_ROOT}.{n}": ",".join(part) for n, part in enumerate(parts or [()])}


def superseded_batches(tags: Mapping[str, str]) -> frozenset[str]:
    """The batches in the tags of a new root."""
    texts = (text for key, text in tags.items() if key == NEW_ROOT or key.startswith(f"{NEW_ROOT}."))
    return frozenset(batch for text in texts for batch in text.split(",") if batch)
