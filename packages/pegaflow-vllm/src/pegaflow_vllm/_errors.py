"""The exceptions of pegaflow-vllm.

PegaVllmError
├── SettingsError          (ValueError)  a setting in kv_connector_extra_config that cannot be meant
├── UnsupportedEngineError               a vLLM, a model or a topology that the connector does not serve
└── IdentityError                        nothing says which weights the engine has loaded
"""

from typing import ClassVar


class PegaVllmError(Exception):
    """Whatever keeps the connector from starting."""

    code: ClassVar[str] = "PEGA_VLLM"
    """The stable name of the kind of error."""


class SettingsError(PegaVllmError, ValueError):
    """A setting in `kv_connector_extra_config` that cannot be meant."""

    code = "SETTINGS"

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"kv_connector_extra_config: {name!r} {problem}")
        self.name = name


class UnsupportedEngineError(PegaVllmError):
    """A vLLM, a model or a topology that the connector does not serve."""

    code = "UNSUPPORTED_ENGINE"

    def __init__(self, what: str, next_step: str) -> None:
        super().__init__(f"pegaflow-vllm does not serve {what}; {next_step}")
        self.what = what


class IdentityError(PegaVllmError):
    """Nothing says which weights the engine has loaded, so blocks of others could be mistaken for its own."""

    code = "IDENTITY"

    def __init__(self, model: str, problem: str) -> None:
        super().__init__(
            f"cannot tell the weights of {model!r} apart from others: {problem}; "
            'name them with kv_connector_extra_config {"model_identity": "a name that changes with the weights"}'
        )
        self.model = model
