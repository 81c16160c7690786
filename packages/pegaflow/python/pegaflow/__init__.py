"""A key-value storage engine at memory speed, and the block cache of an LLM server."""
