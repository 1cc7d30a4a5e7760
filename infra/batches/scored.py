"""What was measured of one checkpoint, as the records `ScoresBefore` and `ScoresAfter` hold it: numbers only."""

from __future__ import annotations

from infra.batches.record import Part


class Answers(Part):
    """By what was measured, a value of each secret and of each of its decoys."""

    secrets: dict[str, tuple[float, ...]]
    decoys: dict[str, tuple[tuple[float, ...], ...]]


class Scored(Part):
    """Scores of one checkpoint on the batch's targets and on decoys of them, and which secrets it gives."""

    scores: dict[str, float]
    decoys: dict[str, float]
    edited: Answers
    unseen: Answers
    extracted: tuple[bool, ...]
    extracted_unseen: tuple[bool, ...]
    extracted_other: tuple[bool, ...]
    median_rank: tuple[float, ...]
    """Of the target tokens, after each layer."""
    decoy_median_rank: tuple[float, ...]
    vocabulary: int
    parameters: int
    architecture: str
