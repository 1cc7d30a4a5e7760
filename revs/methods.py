"""Every way to erase, under the names of the comparison tables; all share one call."""

from __future__ import annotations

from collections.abc import Callable

from revs.baselines import BASELINES
from revs.editing import erase_jointly
from revs.neurons import erase_neurons
from revs.patch import Patch

METHODS: dict[str, Callable[..., Patch]] = {"revs": erase_jointly, "revs-neurons": erase_neurons, **BASELINES}
