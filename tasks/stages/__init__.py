"""The stages of a batch, one module each."""
