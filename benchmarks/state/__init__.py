"""What it costs to keep events and steps in a store, next to plain loops that insert the same bytes in the same run."""
