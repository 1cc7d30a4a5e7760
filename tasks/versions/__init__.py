"""What is asked of a registered version: gates, promotion, lineage, audit."""
