"""The contract of a StateStore, by what it is about."""
