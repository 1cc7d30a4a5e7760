"""Gates on metrics, and the expectations on what stages hand on."""
