"""Log lines that programs read: JSON, with the ids that tell which trace and which remote task a line is about."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

__all__ = ["JsonLines"]

# What every record has; anything else was given by whoever wrote the line.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SPELLED = {"context_id": "contextId", "task_id": "taskId"}


class JsonLines(logging.Formatter):
    """Formats each record of a log as one JSON object on one line.

    It has `time` (UTC), `level`, `logger` and `message`, whatever was passed as `extra`, and `exception`. The lines of
    `log_flow_events` bring `trace_id`, `event_type`, `node_name`, `attempt`, `latency_ms` and `queue_depth`, and those
    about remote calls `contextId` and `taskId`, as A2A spells them. A line of a node's own joins them by
    `logger.info(..., extra={"trace_id": ctx.trace_id})`. What JSON cannot hold is written as its text.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields: dict[str, Any] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in vars(record).items():
            if name not in _STANDARD and value is not None:
                fields.setdefault(_SPELLED.get(name, name), value)
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False, default=str)
