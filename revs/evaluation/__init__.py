"""Evaluation: ranks, decoding, metrics and attacks."""
