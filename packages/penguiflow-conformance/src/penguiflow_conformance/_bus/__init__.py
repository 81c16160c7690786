"""The contract of a MessageBus, by what it is about."""
