"""What shapes KV is in the names of its blocks, and what cannot be told keeps a request out of the cache."""

from types import SimpleNamespace
from typing import Any

import pytest

from pegaflow_vllm._identity import Names, hashes_media, of_engine
from pegaflow_vllm._settings import Settings

CONTENT = "0123456789abcdef" * 4


def engine(**changes: Any) -> bytes:
    rope = changes.pop("rope", "llama3")
    config = SimpleNamespace(to_dict=lambda: {"model_type": "phi3", "rope_parameters": {"rope_type": rope}})
    model = {
        "model": "m",
        "hf_config": config,
        "dtype": "float32",
        "quantization": None,
        "max_model_len": 4096,
        "multimodal_config": None,
    }
    cache = SimpleNamespace(cache_dtype="auto", block_size=32)
    parallel = SimpleNamespace(tensor_parallel_size=1, pipeline_parallel_size=1)
    vllm_config = SimpleNamespace(
        model_config=SimpleNamespace(**(model | changes)),
        cache_config=cache,
        parallel_config=parallel,
        speculative_config=None,
        lora_config=None,
        load_config=None,
    )
    groups = SimpleNamespace(kv_cache_layout=None, kv_cache_groups=[])
    return of_engine(vllm_config, groups, Settings(model_identity="weights"))


def test_the_longest_prompt_counts_where_the_model_reads_it() -> None:
    assert engine(rope="longrope", max_model_len=8192) != engine(rope="longrope", max_model_len=4096)
    assert engine(max_model_len=8192) == engine(max_model_len=4096)


def test_what_is_made_of_images_counts() -> None:
    def sized(pixels: int) -> bytes:
        return engine(multimodal_config=SimpleNamespace(mm_processor_kwargs={"max_pixels": pixels}))

    assert sized(1000) != sized(2000)


def test_quantisation_that_is_set_by_hand_counts() -> None:
    assert engine(quantization_config={"linear": "fp8"}) != engine(quantization_config={"linear": "int8"})


def request(identifier: str) -> SimpleNamespace:
    image = SimpleNamespace(identifier=identifier, mm_position=SimpleNamespace(offset=0, length=4))
    return SimpleNamespace(
        prompt_embeds=None,
        resumable=False,
        pooling_params=None,
        lora_request=None,
        mm_features=[image],
        cache_salt="\ud800",
    )


@pytest.mark.parametrize("identifier", [CONTENT, CONTENT * 2, f"adapter:{CONTENT}"])
def test_an_image_that_is_named_by_its_content_is_kept(identifier: str) -> None:
    assert Names(b"engine", 32, hashes_media=True).chain(request(identifier)) is not None


@pytest.mark.parametrize("identifier", ["renderer0-mm-1-image-0", "cat", "", CONTENT[1:]])
def test_an_image_that_somebody_has_named_is_not_kept(identifier: str) -> None:
    assert Names(b"engine", 32, hashes_media=True).chain(request(identifier)) is None


def test_images_are_not_kept_by_an_engine_that_only_counts_them() -> None:
    def served(*, caches: bool, processed_gb: float) -> Any:
        media = SimpleNamespace(mm_processor_cache_gb=processed_gb)
        cache = SimpleNamespace(enable_prefix_caching=caches)
        return SimpleNamespace(model_config=SimpleNamespace(multimodal_config=media), cache_config=cache)

    assert hashes_media(served(caches=True, processed_gb=0))
    assert hashes_media(served(caches=False, processed_gb=4))
    assert not hashes_media(served(caches=False, processed_gb=0))
    assert Names(b"engine", 32, hashes_media=False).chain(request(CONTENT)) is None
