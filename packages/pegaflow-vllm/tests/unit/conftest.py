"""What these tests need of vLLM is imported once, with its own warnings."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pegaflow_vllm._compat  # noqa: F401
