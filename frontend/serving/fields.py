"""The top-level fields of request bodies that somebody behind the frontend understands.

A field nobody knows is refused by name, because a misspelt ``max_token`` that is silently dropped costs its
author an afternoon. Sources: OpenAI's API (the request types of its Python SDK), the request models of vLLM
(``vllm/entrypoints/openai/*/protocol.py``), SGLang (``sglang/srt/entrypoints/openai/protocol.py``) and
TensorRT-LLM (``tensorrt_llm/serve/openai_protocol.py``), and Dynamo's extension (``nvext`` and what its
frontend reads beside it). Engines drop options with time; names that only older versions knew stay.
"""

from typing import Final


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_OPENAI: Final = _names("""
    frequency_penalty logit_bias logprobs max_tokens metadata model n presence_penalty safety_identifier seed
    service_tier stop store stream stream_options temperature top_p user
""")
"""What chat and completions share."""
_OPENAI_CHAT: Final = _names("""
    audio max_completion_tokens messages modalities moderation parallel_tool_calls prediction
    prompt_cache_key prompt_cache_options prompt_cache_retention reasoning_effort response_format tool_choice
    tools top_logprobs verbosity web_search_options
""")
_OPENAI_COMPLETIONS: Final = _names("best_of echo prompt suffix")
_OPENAI_EMBEDDINGS: Final = _names("dimensions encoding_format input model user")

_VLLM: Final = _names("""
    add_special_tokens allowed_token_ids bad_words cache_salt ec_transfer_params guided_choice
    guided_decoding_backend guided_grammar guided_json guided_regex guided_whitespace_pattern ignore_eos
    include_stop_str_in_output kv_transfer_params length_penalty logits_processors logprob_token_ids min_p
    min_tokens priority prompt_logprobs repetition_detection repetition_penalty request_id response_format
    return_mm_kwargs return_token_ids return_token_offsets return_tokens_as_token_ids
    routed_experts_prompt_start session_id skip_special_tokens spaces_between_special_tokens stop_token_ids
    stream_interval structural_tag structured_outputs thinking_token_budget top_k truncate_prompt_tokens
    truncation_side use_beam_search vllm_xargs watermarking
""")
_VLLM_CHAT: Final = _names("""
    add_generation_prompt chat_template chat_template_kwargs continue_final_message documents echo
    include_reasoning media_io_kwargs mm_processor_kwargs prompt_token_ids return_prompt_text
""")
_VLLM_COMPLETIONS: Final = _names("prompt_embeds")
_VLLM_EMBEDDINGS: Final = _names("""
    add_special_tokens additional_data cache_salt embed_dtype encoding_dtype endianness messages
    mm_processor_kwargs normalize priority request_id truncate_prompt_tokens truncation_side use_activation
""")

_SGLANG: Final = _names("""
    bootstrap_host bootstrap_port bootstrap_room custom_labels custom_logit_processor custom_params
    data_parallel_rank disagg_prefill_dp_rank ebnf extra_key images_config json_schema lora_path
    ngram_corpus_id no_stop_trim regex return_cached_tokens_details return_hidden_states
    return_routed_experts rid routed_dp_rank routed_experts_start_len session_params stop_regex
""")
_SGLANG_CHAT: Final = _names("""
    input_ids max_dynamic_patch min_dynamic_patch reasoning return_meta_info return_prompt_token_ids
    separate_reasoning stream_reasoning task use_audio_in_video
""")

_TRTLLM: Final = _names("""
    conversation_params detokenize disaggregated_params early_stopping lora_request prompt_ignore_length
    return_context_logits scheduling_params top_p_min
""")
_DYNAMO: Final = _names("chat_template_args nvext router_config_override routing")
"""``routing`` names workers: ``backend_instance_id``, ``prefill_worker_id``, ``decode_worker_id``."""

_GENERATION: Final = _OPENAI | _VLLM | _SGLANG | _TRTLLM | _DYNAMO

CHAT: Final = _GENERATION | _OPENAI_CHAT | _VLLM_CHAT | _SGLANG_CHAT
"""``/v1/chat/completions``."""
COMPLETIONS: Final = _GENERATION | _OPENAI_COMPLETIONS | _VLLM_COMPLETIONS
"""``/v1/completions``."""
EMBEDDINGS: Final = _OPENAI_EMBEDDINGS | _VLLM_EMBEDDINGS | _VLLM_CHAT | _DYNAMO | {"dp_rank", "rid"}
"""``/v1/embeddings``; vLLM embeds conversations too."""

HANDOVER: Final = _names("""
    bootstrap_host bootstrap_port bootstrap_room disaggregated_params ec_transfer_params kv_transfer_params
""")
"""Where an engine takes computed state from, by address: whoever may say that makes workers connect to any
host, so only who chose the workers may."""

DEPRECATED: Final = {"function_call": "tool_choice", "functions": "tools"}
"""OpenAI's first function calling, and what took its place."""
