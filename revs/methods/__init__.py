"""Methods of erasing beside the joint edit: the paper's search for neurons, and baselines."""
