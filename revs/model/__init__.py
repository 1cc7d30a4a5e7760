"""The model: loaded, its family's parts by name, its passes, its unembedding."""
