"""How fast the flow runtime is, next to bare queues and bare awaits that do the same work in the same run."""
