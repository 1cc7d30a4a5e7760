"""The errors of the project, one tree.

RevsError                 anything this project raises on purpose; its text is one line without personal data
├── BadInput              the caller's mistake: what was wrong, with its value, and the remedy        (exit code 2)
├── OperationFailed       the surroundings failed: disk, server, lock; says what is safe and what next (exit code 1)
└── GateRefused           a gate refused a model version; nothing was promoted                         (exit code 3)

Gap                       a figure that cannot be measured; its text says why. Caught where scores are put together
RevsWarning               something was done, but less than was asked for; the same rules for its text
"""

from __future__ import annotations


class RevsError(Exception):
    """Base of every error raised on purpose. Its message never holds an identifier, a prompt or a secret."""

    exit_code = 1


class BadInput(RevsError, ValueError):
    """The caller's mistake: the message gives the value, the bound it broke and the remedy."""

    exit_code = 2


class OperationFailed(RevsError, RuntimeError):
    """Something outside the process failed; the message says what is safe and what to do."""

    exit_code = 1


class GateRefused(RevsError):
    """A promotion gate refused; the champion was not touched."""

    exit_code = 3


class Gap(Exception):
    """A figure that cannot be measured here; the text gives the reason. Left out of the scores, never 0 or 100."""


class RevsWarning(UserWarning):
    """Less was reached than was asked for; the message gives how much less, and where to look."""
