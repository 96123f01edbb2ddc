"""Disaggregated serving: the prompt on one worker, the answer on another, by the contract of their engine.

``segment`` decides per request and drives the legs; ``vllm``, ``sglang`` and ``trtllm`` are the contracts:
pure functions from the client's body to the bodies of the legs. ``docs/disaggregation.md`` has the sources.
"""
