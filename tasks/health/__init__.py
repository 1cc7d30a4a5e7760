"""The checks behind `revs doctor`."""
