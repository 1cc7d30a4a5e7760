"""The joint edit: sweeps over the layers that bring target tokens down to their ranks."""
