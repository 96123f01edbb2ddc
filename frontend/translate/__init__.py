"""Anthropic's Messages and OpenAI's Responses served by chat completions."""
