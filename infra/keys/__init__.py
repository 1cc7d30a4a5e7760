"""The deployment key, and the vault that it seals."""
