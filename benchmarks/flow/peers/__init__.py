"""The same tasks on other runtimes, each in an environment of its own that holds nothing of this project."""
