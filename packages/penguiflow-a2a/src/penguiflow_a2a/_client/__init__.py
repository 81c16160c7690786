"""The client side: how a transport speaks to one agent."""
