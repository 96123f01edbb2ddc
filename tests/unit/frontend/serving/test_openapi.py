import json
from html.parser import HTMLParser

from frontend.serving.openapi import Operation, docs_page, document

OPERATIONS = (
    Operation(
        "/v1/chat", "POST", "chat", "Chat <b>", inference=True, required=("model",), fields=frozenset({"n"})
    ),
    Operation("/v1/models/{model}", "GET", "model", "One", inference=False),
    Operation("/live", "GET", "live", "Liveness", inference=False),
    Operation("/tokenize", "POST", "tokenize", "Ids", inference=False),
)
_VOID = frozenset({"meta", "!doctype"})


class Balance(HTMLParser):
    """Fails for a tag that is closed out of turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_description() -> None:
    page = document(OPERATIONS, "1.2")
    assert page["info"]["version"] == "1.2"
    assert list(page["paths"]) == ["/v1/chat", "/v1/models/{model}", "/live", "/tokenize"]
    chat = page["paths"]["/v1/chat"]["post"]
    schema = chat["requestBody"]["content"]["application/json"]["schema"]
    assert schema == {
        "type": "object",
        "required": ["model"],
        "properties": {"n": {}},
        "additionalProperties": False,
    }
    assert chat["responses"]["529"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Error"
    }
    model = page["paths"]["/v1/models/{model}"]["get"]
    assert [parameter["name"] for parameter in model["parameters"]] == ["model"]
    assert "requestBody" not in model
    assert set(model["responses"]) == {"200", "404"}
    assert set(page["paths"]["/live"]["get"]["responses"]) == {"200"}
    assert set(page["paths"]["/tokenize"]["post"]["responses"]) == {"200", "400", "404"}
    assert json.loads(json.dumps(page)) == page


def test_the_page_is_well_formed_and_escaped() -> None:
    reader = Balance()
    reader.feed(docs_page(document(OPERATIONS, "1 & 2")))
    assert reader.open == []
    assert "Chat <b>" in reader.text
    assert "`" not in reader.text
    assert "Inference frontend 1 & 2" in reader.text
    assert all(operation.path in reader.text for operation in OPERATIONS)
