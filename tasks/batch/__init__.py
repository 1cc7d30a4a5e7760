"""What the stages of a batch share."""
