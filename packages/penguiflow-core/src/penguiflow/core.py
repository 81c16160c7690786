"""Flows, their traces, and what a node is given."""

from penguiflow._runtime.context import Context
from penguiflow._runtime.flow import PenguiFlow, Running, create
from penguiflow._runtime.playbook import Playbook
from penguiflow._runtime.trace import Cancellation, Trace

__all__ = ["Cancellation", "Context", "PenguiFlow", "Playbook", "Running", "Trace", "create"]
