"""The nox sessions, a module for each kind; what they share begins with an underscore."""
