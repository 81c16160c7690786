"""The contract of a RemoteTransport, by what it is about."""
