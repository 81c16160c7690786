"""The settings of an engine that a sidecar shares, and their text by which two of them are compared."""

import os
from dataclasses import dataclass, fields
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """What an engine is opened with; None leaves a setting to whoever opens it."""

    memory_bytes: int | None = None
    path: Path | None = None
    disk_bytes: int | None = None
    policy: str | None = None
    durability: str | None = None
    compression: str | None = None
    on_full: str | None = None

    def as_text(self) -> dict[str, str]:
        """Give every setting that was made, as text by name."""
        made = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: str(value) for name, value in made.items() if value is not None}

    def as_arguments(self) -> dict[str, int | str | None]:
        """Give all settings, as the native server takes them."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: os.fspath(value) if isinstance(value, Path) else value for name, value in values.items()}

    def as_command_line(self) -> list[str]:
        """Give the arguments of `python -m pegaflow serve` that make these settings."""
        words = []
        if self.memory_bytes is not None:
            words += ["--memory", str(self.memory_bytes)]
        if self.path is not None:
            # With the colon even where no size follows: a path may have colons of its own.
            words += ["--disk", f"{self.path}:{'' if self.disk_bytes is None else self.disk_bytes}"]
        for name in ("policy", "durability", "compression", "on_full"):
            value = getattr(self, name)
            if value is not None:
                words += [f"--{name.replace('_', '-')}", value]
        return words
