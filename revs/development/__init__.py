"""Development models: small causal LMs trained on the spot that provably memorised invented people.

Nothing here is needed to erase from a model of one's own; the demo, the tests and the benchmarks stand on it.
"""

from __future__ import annotations

from revs.development.model import DevelopmentModel, build
from revs.development.people import Record, invent_records
from revs.development.recipe import Recipe

__all__ = ["DevelopmentModel", "Recipe", "Record", "build", "invent_records"]
