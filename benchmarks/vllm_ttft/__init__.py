"""Time to first token of vLLM with and without the connector, next to copies of the same bytes."""
