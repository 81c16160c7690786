"""The card by which an agent says what it can do, where, and for whom."""

from __future__ import annotations

from pydantic import Field

from penguiflow_a2a._protocol._base import Flag, Json, Many, Meta, Optional_, WireModel

__all__ = [
    "APIKeySecurityScheme",
    "AgentCapabilities",
    "AgentCard",
    "AgentCardSignature",
    "AgentExtension",
    "AgentInterface",
    "AgentProvider",
    "AgentSkill",
    "HTTPAuthSecurityScheme",
    "MutualTlsSecurityScheme",
    "OAuth2SecurityScheme",
    "OpenIdConnectSecurityScheme",
    "SecurityRequirement",
    "SecurityScheme",
    "StringList",
]


class AgentProvider(WireModel):
    """Who runs an agent."""

    url: str = ""
    organization: str = ""


class AgentExtension(WireModel):
    """An extension of the protocol that an agent supports."""

    uri: str
    description: Optional_ = ""
    required: Flag = False
    """Whether the agent refuses clients that don't declare it."""
    params: Meta | None = None


class AgentCapabilities(WireModel):
    """The optional parts of the protocol that an agent supports."""

    streaming: bool | None = None
    push_notifications: bool | None = None
    extensions: Many[AgentExtension] = Field(default_factory=list)
    extended_agent_card: bool | None = None


class AgentInterface(WireModel):
    """One way to reach an agent."""

    url: str
    protocol_binding: str
    """`JSONRPC`, `HTTP+JSON`, `GRPC`, or another."""
    protocol_version: str
    """`1.0` or `0.3`, without a patch version."""
    tenant: Optional_ = ""


class StringList(WireModel):
    """A list of strings, as the scopes of a security requirement are written."""

    list: Many[str] = Field(default_factory=list)


class SecurityRequirement(WireModel):
    """Security schemes that are needed together, each with its scopes."""

    schemes: dict[str, StringList] = Field(default_factory=dict)


class APIKeySecurityScheme(WireModel):
    """A key in a header, a query or a cookie."""

    description: Optional_ = ""
    location: str
    """`header`, `query` or `cookie`."""
    name: str


class HTTPAuthSecurityScheme(WireModel):
    """An HTTP authentication scheme."""

    description: Optional_ = ""
    scheme: str
    bearer_format: Optional_ = ""


class OAuth2SecurityScheme(WireModel):
    """OAuth 2."""

    description: Optional_ = ""
    flows: dict[str, Json]
    """By its name, the one flow that is supported, as the protocol writes it."""
    oauth2_metadata_url: Optional_ = ""


class OpenIdConnectSecurityScheme(WireModel):
    """OpenID Connect."""

    description: Optional_ = ""
    open_id_connect_url: str


class MutualTlsSecurityScheme(WireModel):
    """Mutual TLS."""

    description: Optional_ = ""


class SecurityScheme(WireModel):
    """How clients can identify themselves: exactly one of the fields."""

    api_key_security_scheme: APIKeySecurityScheme | None = None
    http_auth_security_scheme: HTTPAuthSecurityScheme | None = None
    oauth2_security_scheme: OAuth2SecurityScheme | None = None
    open_id_connect_security_scheme: OpenIdConnectSecurityScheme | None = None
    mtls_security_scheme: MutualTlsSecurityScheme | None = None


class AgentSkill(WireModel):
    """Something that an agent can do."""

    id: str
    name: str
    description: str = ""
    tags: Many[str] = Field(default_factory=list)
    examples: Many[str] = Field(default_factory=list)
    input_modes: Many[str] = Field(default_factory=list)
    """Media types it takes; those of the card, where there are none."""
    output_modes: Many[str] = Field(default_factory=list)
    security_requirements: Many[SecurityRequirement] = Field(default_factory=list)


class AgentCardSignature(WireModel):
    """A signature of a card: a JSON Web Signature without its payload."""

    protected: str
    signature: str
    header: Meta | None = None


class AgentCard(WireModel):
    """What an agent says about itself."""

    name: str
    description: str = ""
    supported_interfaces: Many[AgentInterface] = Field(default_factory=list)
    """The preferred one first."""
    provider: AgentProvider | None = None
    version: str = ""
    """The agent's own version."""
    documentation_url: str | None = None
    capabilities: AgentCapabilities = Field(default_factory=AgentCapabilities)
    security_schemes: dict[str, SecurityScheme] = Field(default_factory=dict)
    security_requirements: Many[SecurityRequirement] = Field(default_factory=list)
    """Any one of them is enough."""
    default_input_modes: Many[str] = Field(default_factory=list)
    default_output_modes: Many[str] = Field(default_factory=list)
    skills: Many[AgentSkill] = Field(default_factory=list)
    signatures: Many[AgentCardSignature] = Field(default_factory=list)
    icon_url: str | None = None
