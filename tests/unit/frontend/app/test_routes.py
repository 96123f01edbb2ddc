import pytest

from epp.core.requests import Api
from frontend.app.routes import Inference, Routes
from frontend.errors import ApiError


def name(method: str, path: str, routes: Routes | None = None) -> str:
    return (routes or Routes()).find(method, path).endpoint.name


def status(method: str, path: str, routes: Routes | None = None) -> int:
    with pytest.raises(ApiError) as raised:
        (routes or Routes()).find(method, path)
    return raised.value.status


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1/models/m", "m"),
        ("/v1/models/org/m", "org/m"),
        ("/v1/models/org%2Fm", "org/m"),
        ("/v1/models/ready", "ready"),
        ("/v1/models/a%20b", "a b"),
    ],
)
def test_models(path: str, model: str) -> None:
    found = Routes().find("GET", path)
    assert (found.endpoint.name, found.model) == ("model", model)
    found = Routes().find("GET", path + "/ready")
    assert (found.endpoint.name, found.model) == ("model_ready", model)


def test_a_models_path_without_a_model_is_nothing() -> None:
    assert status("GET", "/v1/models/") == 404
    assert status("POST", "/v1/models/m") == 405


def test_head_is_get() -> None:
    assert name("HEAD", "/live") == "live"
    assert status("HEAD", "/v1/chat/completions") == 405


def test_overrides_move_and_nothing_stays() -> None:
    routes = Routes({"chat": "/talk", "models": "/which"})
    found = routes.find("POST", "/talk").endpoint
    assert isinstance(found, Inference)
    assert found.worker_path == "/v1/chat/completions"
    assert status("POST", "/v1/chat/completions", routes) == 404
    assert name("GET", "/which/m/ready", routes) == "model_ready"
    assert name("POST", "/v1/completions", routes) == "completions"


def test_messages_are_there_when_asked_for() -> None:
    routes = Routes(anthropic=True)
    assert routes.find("POST", "/v1/messages").endpoint.name == "messages"
    found = routes.find("POST", "/v1/messages/count_tokens").endpoint
    assert isinstance(found, Inference)
    assert found.api is Api.COUNT_TOKENS
    assert status("POST", "/v1/messages") == 404


def test_tokens_of_a_response_are_counted_below_its_path() -> None:
    found = Routes({"responses": "/answer"}).find("POST", "/answer/input_tokens").endpoint
    assert isinstance(found, Inference)
    assert (found.api, found.worker_path) == (Api.RESPONSES, "/v1/responses/input_tokens")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/rerank", "/v1/messages"])
def test_who_may_not_say_where_state_comes_from_cannot_anywhere(path: str) -> None:
    for handover in (True, False):
        found = Routes(anthropic=True, handover=handover).find("POST", path).endpoint
        assert isinstance(found, Inference)
        assert ("kv_transfer_params" in found.rules.refused) is not handover


def test_the_admin_page_can_be_off() -> None:
    assert name("POST", "/busy_threshold") == "busy_threshold"
    assert status("GET", "/busy_threshold", Routes(admin=False)) == 404


def test_allowed_methods_are_told() -> None:
    with pytest.raises(ApiError) as raised:
        Routes().find("PUT", "/busy_threshold")
    assert raised.value.headers == (("allow", "GET, POST, HEAD"),)


def test_everything_listed_is_found() -> None:
    routes = Routes(anthropic=True)
    for path, methods in routes.listed().items():
        for method, endpoint in methods.items():
            assert routes.find(method, path).endpoint is endpoint
