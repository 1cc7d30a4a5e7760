"""What runs beside the flows: servers, their processes, progress."""
