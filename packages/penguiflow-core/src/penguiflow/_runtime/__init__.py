"""The machinery behind `penguiflow.core`: one process, one event loop, no public names."""
