"""vLLM's KV cache in pegaflow: prompts that were seen before are not computed again."""

from typing import TYPE_CHECKING

from pegaflow_vllm._errors import IdentityError, PegaVllmError, SettingsError, UnsupportedEngineError
from pegaflow_vllm._settings import Settings

__all__ = [
    "IdentityError",
    "PegaKVConnector",
    "PegaVllmError",
    "Settings",
    "SettingsError",
    "UnsupportedEngineError",
    "register",
]

for _item in (IdentityError, PegaVllmError, Settings, SettingsError, UnsupportedEngineError):
    _item.__module__ = __name__


def register() -> None:
    """Make `PegaKVConnector` known to vLLM by its name. vLLM calls this in each of its processes."""
    from pegaflow_vllm._compat import register_connector

    register_connector("PegaKVConnector", __name__)


if TYPE_CHECKING:
    from pegaflow_vllm._connector import PegaKVConnector
else:

    def __getattr__(name: str) -> object:
        """Give `PegaKVConnector`, which needs vLLM; everything else works without it."""
        if name != "PegaKVConnector":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from pegaflow_vllm._connector import PegaKVConnector

        return PegaKVConnector
