"""Requests as the pipeline takes them."""

import json
from typing import Any

import pytest

from frontend.app.asking import call_of
from frontend.app.routes import Routes
from frontend.config.model import HttpConfig
from frontend.errors import ApiError
from frontend.http.api import Request

CHAT = "/v1/chat/completions"


def asked(**body: Any) -> Any:
    """The body of a chat as it goes on."""
    routes = Routes(HttpConfig().paths, anthropic=False, admin=False, handover=False)
    sent = {"model": "m", "messages": [{"role": "user", "content": "x"}], **body}
    headers = {"content-type": "application/json"}
    request = Request("POST", CHAT, "", headers, json.dumps(sent).encode(), 0.0)
    return json.loads(call_of(request, routes.questionable[CHAT], nvext=True).body.encode())


def test_dynamos_name_of_template_variables_is_the_engines() -> None:
    body = asked(chat_template_args={"enable_thinking": False})
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert "chat_template_args" not in body


def test_both_names_at_once_are_refused() -> None:
    with pytest.raises(ApiError, match="one field") as refused:
        asked(chat_template_args={}, chat_template_kwargs={})
    assert refused.value.status == 400
