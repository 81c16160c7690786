"""A real vLLM engine in a process of its own, what it is asked, and how its answers are judged."""
