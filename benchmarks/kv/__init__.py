"""How fast the storage engine is, next to a plain copy of the same bytes and to its peers."""
