"""Which models a node takes and gives, with their validators built once."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation

from penguiflow.errors import FlowDefinitionError

__all__ = ["ModelRegistry", "Models"]


class Models:
    """The models of one node, and their adapters."""

    __slots__ = ("in_adapter", "in_model", "out_adapter", "out_model")

    def __init__(
        self, in_model: Any, out_model: Any, in_adapter: TypeAdapter[Any], out_adapter: TypeAdapter[Any]
    ) -> None:
        self.in_model = in_model
        self.out_model = out_model
        self.in_adapter = in_adapter
        self.out_adapter = out_adapter


class ModelRegistry:
    """Maps node names to what they take and give.

    A model is any type pydantic can validate: a `BaseModel`, a dataclass, `list[str]`, a union. A `Message` on its
    way to a node is validated by its payload, unless the model is `Message` itself. One `TypeAdapter` is built for
    each distinct model and shared by all flows that use the registry.
    """

    def __init__(self) -> None:
        self._models: dict[str, Models] = {}
        self._adapters: list[tuple[Any, TypeAdapter[Any]]] = []
        self._by_class: dict[type, TypeAdapter[Any]] = {}

    def register(self, node_name: str, in_model: Any, out_model: Any) -> None:
        """Set what the node of this name takes and gives.

        Raises:
            FlowDefinitionError: the name is registered already, or a model is no type that pydantic can validate.
        """
        if not isinstance(node_name, str) or not node_name:
            raise FlowDefinitionError(f"register() takes the name of a node, not {node_name!r}")
        if node_name in self._models:
            raise FlowDefinitionError(
                f"node {node_name!r} is registered already; register each node once", node_name=node_name
            )
        in_adapter = self._adapter(in_model, node_name, "in_model")
        out_adapter = self._adapter(out_model, node_name, "out_model")
        self._models[node_name] = Models(in_model, out_model, in_adapter, out_adapter)

    def models(self, node_name: str) -> Models:
        """Return the models of a node.

        Raises:
            FlowDefinitionError: the node is not registered.
        """
        try:
            return self._models[node_name]
        except KeyError:
            raise FlowDefinitionError(
                f"node {node_name!r} has no entry in the registry; add registry.register({node_name!r}, In, Out), "
                f"or give the node NodePolicy(validate='none')",
                node_name=node_name,
            ) from None

    def __contains__(self, node_name: object) -> bool:
        return node_name in self._models

    def _adapter(self, model: Any, node_name: str, role: str) -> TypeAdapter[Any]:
        if isinstance(model, type) and model in self._by_class:
            return self._by_class[model]
        for known, adapter in self._adapters:
            if known is model:
                return adapter
        if model is None or isinstance(model, str | int | float | bytes | list | dict | tuple | set):
            raise self._refused(model, node_name, role, "it is a value, not a type")
        try:
            adapter = TypeAdapter(model)
        except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation) as error:
            raise self._refused(model, node_name, role, str(error).splitlines()[0]) from error
        if isinstance(model, type):
            self._by_class[model] = adapter
        else:
            self._adapters.append((model, adapter))
        return adapter

    @staticmethod
    def _refused(model: Any, node_name: str, role: str, why: str) -> FlowDefinitionError:
        return FlowDefinitionError(
            f"{role} of node {node_name!r} is {model!r}, which pydantic cannot validate: {why}; "
            f"pass a BaseModel class or another type such as str or list[int]",
            node_name=node_name,
        )
