"""Work on a corpus that no batch asks for: scans and leaks."""
