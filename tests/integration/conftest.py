"""The integration tests see only installed distributions, never the source tree."""
