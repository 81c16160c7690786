"""What other distributions add to pegaflow, found by entry points."""

from importlib.metadata import entry_points


def load_connector() -> object:
    """Give the class that connects vLLM to pegaflow.

    Raises:
        ImportError: The distribution that has it is not installed.
    """
    for entry_point in entry_points(group="pegaflow.connectors", name="PegaKVConnector"):
        connector: object = entry_point.load()
        return connector
    raise ImportError('PegaKVConnector is in another distribution; install it: pip install "pegaflow-vllm"')
