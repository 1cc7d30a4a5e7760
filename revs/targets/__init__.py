"""Targets: a prompt and a secret, as text and as tokens."""
