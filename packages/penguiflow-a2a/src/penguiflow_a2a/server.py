"""Serves a flow as an A2A agent.

It needs the extra `server`: `pip install "penguiflow-a2a[server]"`.
"""

from __future__ import annotations

from penguiflow_a2a._outcomes import InputRequired, Rejected
from penguiflow_a2a._protocol.errors import ErrorKind, ProtocolError
from penguiflow_a2a._server.app import A2AServer, create_a2a_app
from penguiflow_a2a._server.callers import Authenticator, Principal
from penguiflow_a2a._server.card import CardFormat, describe
from penguiflow_a2a._server.engine import AnswerKind
from penguiflow_a2a._server.limits import PushPolicy, ServerLimits
from penguiflow_a2a._server.operations import ExtendedCard
from penguiflow_a2a._server.records import TaskRecord
from penguiflow_a2a._server.store import MemoryTaskStore, Page, TaskStore
from penguiflow_a2a._server.values import Reader

__all__ = [
    "A2AServer",
    "AnswerKind",
    "Authenticator",
    "CardFormat",
    "ErrorKind",
    "ExtendedCard",
    "InputRequired",
    "MemoryTaskStore",
    "Page",
    "Principal",
    "ProtocolError",
    "PushPolicy",
    "Reader",
    "Rejected",
    "ServerLimits",
    "TaskRecord",
    "TaskStore",
    "create_a2a_app",
    "describe",
]
