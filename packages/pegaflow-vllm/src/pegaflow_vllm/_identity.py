"""What an engine's KV blocks depend on besides the tokens."""

import hashlib
import json
import logging
import re
from pathlib import Path
from typing import Any

from pegaflow_vllm import _chain
from pegaflow_vllm._chain import Chain, Inset
from pegaflow_vllm._compat import VLLM_VERSION, device_kind, torch_version
from pegaflow_vllm._errors import IdentityError
from pegaflow_vllm._settings import Settings
from pegaflow_vllm._weights import Signature, digest_of, signature, weight_files

_log = logging.getLogger("vllm.pegaflow")

_NAMES_ONLY = ("_name_or_path", "transformers_version")
"""Keys of a model's configuration that say where it is and who wrote it, and nothing about its KV."""

_READ_LENGTH = ("longrope", "llama4")
"""What is in the configuration of models that ask for `max_model_len`: for their rotary factors (Phi 3), or to scale
their queries (Llama 4)."""

_MEDIA = (
    "mm_processor_kwargs",
    "media_io_kwargs",
    "mm_device_do_normalize",
    "mm_encoder_attn_dtype",
    "video_pruning_rate",
    "video_pruning_method",
)
"""Settings that change what is computed of an image or sound and are in no hash of it."""

_CONTENT = re.compile("[0-9a-f]{64}|[0-9a-f]{128}")
"""How vLLM's hashes over images and sounds look: blake3, SHA-256 or SHA-512."""


def of_engine(vllm_config: Any, kv_cache_config: Any, settings: Settings) -> bytes:
    """Give a hash over everything that shapes the blocks of an engine, the same in every process and rank.

    Raises:
        IdentityError: The weights are nowhere to be read, and the settings do not name them.
    """
    facts = _facts(vllm_config, kv_cache_config, settings)
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).digest()


def _facts(vllm_config: Any, kv_cache_config: Any, settings: Settings) -> dict[str, Any]:
    model, cache, parallel = vllm_config.model_config, vllm_config.cache_config, vllm_config.parallel_config
    speculative, lora = vllm_config.speculative_config, vllm_config.lora_config
    draft = None if speculative is None else getattr(speculative, "draft_model_config", None)
    architecture = _architecture(model)
    return {
        "vllm": VLLM_VERSION,
        "device": device_kind(),
        "tenant": settings.tenant,
        "architecture": architecture,
        "length": model.max_model_len if _depends_on_length(architecture) else None,
        "media": _media(model),
        "weights": settings.model_identity or weights(model, vllm_config.load_config),
        "draft": None if draft is None else [_architecture(draft), draft.model, draft.revision],
        "speculative": None if speculative is None else [speculative.method, speculative.num_speculative_tokens],
        "adapters": None if lora is None else str(lora.lora_dtype),
        "dtype": str(model.dtype),
        "quantization": [model.quantization, getattr(model, "quantization_config", None)],
        "cache_dtype": cache.cache_dtype,
        "block_tokens": cache.block_size,
        "layout": kv_cache_config.kv_cache_layout,
        "groups": [
            [repr(type(group.kv_cache_spec).__name__), sorted(group.layer_names)]
            for group in kv_cache_config.kv_cache_groups
        ],
        "ranks": [parallel.tensor_parallel_size, parallel.pipeline_parallel_size],
    }


def _architecture(model: Any) -> dict[str, Any]:
    return {name: item for name, item in model.hf_config.to_dict().items() if name not in _NAMES_ONLY}


def _depends_on_length(architecture: dict[str, Any]) -> bool:
    """Say whether the longest prompt that an engine takes changes what it computes of a short one."""
    text = json.dumps(architecture, default=str)
    return any(name in text for name in _READ_LENGTH)


def _media(model: Any) -> dict[str, Any] | None:
    """Give what an engine makes of images and sounds, whose hashes are of what came in."""
    media = getattr(model, "multimodal_config", None)
    return None if media is None else {name: getattr(media, name, None) for name in _MEDIA}


def hashes_media(vllm_config: Any) -> bool:
    """Say whether vLLM names images and sounds by their content; it counts them where it caches nothing itself."""
    media = getattr(vllm_config.model_config, "multimodal_config", None)
    is_cached = vllm_config.cache_config.enable_prefix_caching
    return bool(is_cached or media is None or media.mm_processor_cache_gb)


def weights(model: Any, load: Any) -> str:
    """Give what stands for the weights that an engine has loaded.

    Raises:
        IdentityError: They are nowhere to be read.
    """
    load_format = getattr(load.load_format, "value", load.load_format)
    if load_format == "dummy":
        return f"dummy, seed {model.seed}, torch {torch_version()}"
    location = getattr(model, "model_weights", None) or model.model
    path = local(location, model.revision, getattr(load, "download_dir", None))
    if path is None:
        raise IdentityError(model.model, f"{location!r} is no directory here, nor in the cache of Hugging Face")
    files = weight_files(path)
    if not files:
        raise IdentityError(model.model, f"{path} holds no weights that this release knows")
    return f"{load_format} {digest_of(files)}"


def local(name: str, revision: str | None = None, cache_dir: str | None = None) -> Path | None:
    """Give where a model or adapter lies on this machine: a directory, a file, or a cached snapshot."""
    path = Path(name)
    if path.exists():
        return path
    try:
        from huggingface_hub import snapshot_download

        found = snapshot_download(name, revision=revision, cache_dir=cache_dir, local_files_only=True)
    except Exception:  # Whatever the reason, it is not here.
        return None
    return Path(found)


class Adapters:
    """The content of the adapters that requests name. One that cannot be told has no blocks in the cache."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Signature, bytes | None]] = {}

    def digest(self, adapter: Any) -> bytes | None:
        """Give a hash over the files of an adapter; None if they are not here, or changed after it was loaded."""
        try:
            return self._digest(adapter)
        except OSError as error:
            _log.warning("pegaflow: adapter %r cannot be read: its KV is not kept: %s", adapter.lora_name, error)
            return None

    def _digest(self, adapter: Any) -> bytes | None:
        path = local(adapter.lora_path)
        files = [] if path is None else _adapter_files(path)
        now = signature(files)
        seen = self._known.get(adapter.lora_int_id)
        if seen is None or (adapter.load_inplace and seen[0] != now):
            digest = bytes.fromhex(digest_of(files)) if files else None
            if digest is None:
                _log.warning("pegaflow: adapter %r is not on this machine: its KV is not kept", adapter.lora_name)
            self._known[adapter.lora_int_id] = (now, digest)
            return digest
        if seen[0] != now:
            _log.warning("pegaflow: adapter %r has changed on disk: its KV is not kept", adapter.lora_name)
            self._known[adapter.lora_int_id] = (now, None)
            return None
        return seen[1]


def _adapter_files(path: Path) -> list[Path]:
    files = weight_files(path)
    settings = path / "adapter_config.json"
    return [*files, settings] if settings.is_file() else files


class Names:
    """Begins the names of the blocks of requests."""

    def __init__(self, identity: bytes, block_tokens: int, *, hashes_media: bool) -> None:
        self._identity = identity
        self._block_tokens = block_tokens
        self._hashes_media = hashes_media
        self._adapters = Adapters()

    def begin_anew(self, epoch: bytes) -> None:
        """Share no block with what was named before."""
        self._identity = hashlib.sha256(self._identity + epoch).digest()

    def chain(self, request: Any) -> Chain | None:
        """Begin the names of a request's blocks; None if nobody else may use them."""
        if request.prompt_embeds is not None or request.resumable or request.pooling_params is not None:
            return None
        if not all(self._is_content(feature) for feature in request.mm_features):
            return None
        adapter: bytes | None = b""
        if request.lora_request is not None:
            adapter = self._adapters.digest(request.lora_request)
        if adapter is None:
            return None
        insets = [
            Inset(feature.identifier, feature.mm_position.offset, feature.mm_position.length)
            for feature in request.mm_features
        ]
        start = _chain.root(self._identity, salt=request.cache_salt or "", adapter=adapter)
        return Chain(start, self._block_tokens, insets)

    def _is_content(self, feature: Any) -> bool:
        """Say whether an image or sound is named by its content, and not by a number or by whoever sent it."""
        # Behind the name of an adapter, if there is one.
        return self._hashes_media and _CONTENT.fullmatch(feature.identifier.rpartition(":")[2]) is not None
