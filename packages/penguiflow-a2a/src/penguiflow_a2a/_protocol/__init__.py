"""The protocol: its objects, its errors and operations, and how versions 0.3 and 1.0 spell them."""
