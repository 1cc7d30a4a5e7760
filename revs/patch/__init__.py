"""Patches: the exact change to the weights, applied, reverted, saved and exported."""
