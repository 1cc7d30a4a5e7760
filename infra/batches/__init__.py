"""The folder of a batch."""
