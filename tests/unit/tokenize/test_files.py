"""Reading model folders: the file that wins is the one that wins in transformers; bad files are refused."""

import json
from array import array
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from epp.tokenize.errors import LoadError
from epp.tokenize.files import read_model_folder
from epp.tokenize.hub import locate
from epp.tokenize.model import load_model
from tests.unit.tokenize.conftest import ModelDir

_BOS = {
    "type": "TemplateProcessing",
    "single": [
        {"SpecialToken": {"id": "<|im_start|>", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
    ],
    "pair": [],
    "special_tokens": {"<|im_start|>": {"id": "<|im_start|>", "ids": [2046], "tokens": ["<|im_start|>"]}},
}


@pytest.fixture
def folder(model_dir: ModelDir, tmp_path: Path) -> Path:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((model_dir("tiny") / name).read_bytes())
    return tmp_path


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


def _change(path: Path, **fields: Any) -> None:
    value = json.loads(path.read_text(encoding="utf-8")) | fields
    _write(path, {key: entry for key, entry in value.items() if entry is not ...})


def _ids(folder: Path, text: str, *, special: bool) -> list[int]:
    model = load_model(folder)
    ids = model.backend.encode([text])[0]
    return list(array("I", model.before + ids + model.after if special else ids))


def _same_as_transformers(folder: Path, *texts: str) -> None:
    reference = PreTrainedTokenizerFast.from_pretrained(str(folder))
    for text in texts:
        for special in (True, False):
            expected = reference(text, add_special_tokens=special)["input_ids"]
            assert _ids(folder, text, special=special) == expected, (text, special)


@pytest.mark.parametrize(
    "config", [{}, {"add_bos_token": True}, {"add_bos_token": False}, {"add_eos_token": True}], ids=str
)
@pytest.mark.parametrize("post_processor", [None, _BOS], ids=["none", "bos"])
def test_bos_and_eos_are_those_of_tokenizer_json(
    folder: Path, config: dict[str, Any], post_processor: dict[str, Any] | None
) -> None:
    _change(folder / "tokenizer_config.json", bos_token="<|im_start|>", **config)
    _change(folder / "tokenizer.json", post_processor=post_processor)
    _same_as_transformers(folder, "hello world", "<|im_start|>x", "")


def test_tokens_that_only_the_configuration_declares(folder: Path) -> None:
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    flags = dict.fromkeys(("lstrip", "rstrip", "normalized", "single_word"), False)
    config["added_tokens_decoder"]["2048"] = {"content": "<tool>", "special": False, **flags}
    config["added_tokens_decoder"]["2049"] = {"content": "<end>", "special": True, **flags, "lstrip": True}
    _write(folder / "tokenizer_config.json", config)
    assert _ids(folder, "<tool>", special=False) == [2048]
    _same_as_transformers(folder, "a<tool>b  <end>c", "<tool><end>")


def test_tokens_of_the_legacy_file(folder: Path) -> None:
    _change(folder / "tokenizer_config.json", added_tokens_decoder=...)
    _write(folder / "added_tokens.json", {"<legacy>": 2048})
    _write(
        folder / "special_tokens_map.json",
        {"eos_token": {"content": "<legacy>"}, "pad_token": "<|endoftext|>"},
    )
    assert read_model_folder(folder).special_tokens["eos_token"] == "<legacy>"
    _same_as_transformers(folder, "a <legacy> b")


def test_truncation_and_padding_of_the_file_are_ignored(folder: Path) -> None:
    truncation = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    _change(folder / "tokenizer.json", truncation=truncation)
    assert len(_ids(folder, "one two three four five six", special=False)) > 2


def test_special_tokens_are_template_variables(folder: Path) -> None:
    _change(folder / "tokenizer_config.json", bos_token={"content": "<b>", "lstrip": False}, unk_token=None)
    tokens = read_model_folder(folder).special_tokens
    assert tokens == {"bos_token": "<b>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}


@pytest.mark.parametrize(
    ("in_config", "files"),
    [
        (None, {}),
        ("config", {}),
        ("config", {"chat_template.jinja": "file"}),
        ([{"name": "default", "template": "a"}, {"name": "tool_use", "template": "b"}], {}),
        ("config", {"chat_template.jinja": "file", "additional_chat_templates/rag.jinja": "rag"}),
        ("config", {"additional_chat_templates/tool_use.jinja": "tools"}),
    ],
    ids=str,
)
def test_chat_templates_are_those_of_transformers(
    folder: Path, in_config: Any, files: dict[str, str]
) -> None:
    if in_config is not None:
        _change(folder / "tokenizer_config.json", chat_template=in_config)
    for name, text in files.items():
        _write(folder / name, text)
    expected = PreTrainedTokenizerFast.from_pretrained(str(folder)).chat_template
    expected = {"default": expected} if isinstance(expected, str) else expected or {}
    assert read_model_folder(folder).templates == expected


def test_the_template_file_of_older_processors(folder: Path) -> None:
    _write(folder / "chat_template.json", {"chat_template": "older"})
    assert read_model_folder(folder).templates == {"default": "older"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", "{", "not JSON"),
        ("tokenizer.json", "[]", "no JSON object"),
        ("tokenizer.json", {"model": {"type": "Nonsense"}}, "not usable"),
        ("tokenizer.json", {"added_tokens": 3}, "unexpected shape"),
        ("tokenizer_config.json", {"added_tokens_decoder": {"x": {}}}, "unexpected shape"),
        ("tokenizer_config.json", {"chat_template": 3}, "unexpected shape"),
        ("tokenizer_config.json", {"chat_template": "{% if %}"}, "does not parse"),
        ("tokenizer_config.json", "\udcff", "JSON"),
    ],
)
def test_bad_files_are_named(folder: Path, name: str, content: Any, message: str) -> None:
    raw = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_bytes(raw.encode("utf-8", "surrogateescape"))
    with pytest.raises(LoadError, match=message):
        load_model(folder)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"no tokenizer\.json"):
        read_model_folder(tmp_path)
    with pytest.raises(LoadError, match=r"is no folder"):
        read_model_folder(tmp_path / "nothing")
    (tmp_path / "tokenizer.json").mkdir()
    with pytest.raises(LoadError, match="cannot be read"):
        read_model_folder(tmp_path)


def test_a_folder_needs_no_hub(tmp_path: Path) -> None:
    assert locate(str(tmp_path), None) == tmp_path
    for path in (str(tmp_path / "missing"), "./missing", "a/b/c"):
        with pytest.raises(LoadError, match=r"is no folder"):
            locate(path, None)


def test_a_hub_name_without_the_hub_client_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr("epp.tokenize.hub.import_module", missing)
    with pytest.raises(LoadError, match=r"install llm-endpoint-picker\[hub\]"):
        locate("some/model", None)


def test_a_hub_model_is_downloaded_without_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    class Client:
        @staticmethod
        def snapshot_download(name: str, **options: Any) -> str:
            asked.update(options, name=name)
            if options["revision"] == "gone":
                raise OSError("404")
            return str(tmp_path)

    monkeypatch.setattr("epp.tokenize.hub.import_module", lambda _name: Client)
    assert locate("some/model", "v1") == tmp_path
    assert (asked["name"], asked["revision"]) == ("some/model", "v1")
    assert not any("safetensors" in pattern or pattern == "*" for pattern in asked["allow_patterns"])
    with pytest.raises(LoadError, match=r"could not be had.*404"):
        locate("some/model", "gone")
