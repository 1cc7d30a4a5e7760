"""Identifiers: their normal forms, the ways they are written, and how they are masked."""
