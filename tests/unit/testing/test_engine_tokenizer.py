"""The engine's tokenization with a real model folder."""

from pathlib import Path

import pytest

from epp.testing.engine.ids import ids
from epp.testing.engine.text import AnswerBook
from epp.testing.engine.tokenizer import EngineTokenizer, PromptError, load_tokenizer
from epp.testing.vocab import build_model_dir


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> EngineTokenizer:
    return load_tokenizer(build_model_dir(tmp_path_factory.mktemp("model") / "tiny", "tiny"))


def test_a_chat_is_rendered_by_the_models_template(tokenizer: EngineTokenizer) -> None:
    text = tokenizer.chat([{"role": "user", "content": "Hello"}], {"add_generation_prompt": True})
    assert text.endswith("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n")
    encoded = tokenizer.encode(text, special=False)
    assert "".join(tokenizer.text(token) for token in encoded) == text


def test_answers_tokenize_back_to_their_ids(tokenizer: EngineTokenizer) -> None:
    book = AnswerBook(lambda text: tokenizer.encode(text, special=False), 3)
    for prompt in range(20):
        answer = book.answer(ids([prompt]), 30, ignore_eos=True)
        text = "".join(tokenizer.text(token) for token in answer.tokens)
        again = tokenizer.encode(text, special=False)
        assert again[:-3] == answer.tokens[: len(again) - 3], "all but a word cut at the end"


@pytest.mark.parametrize("broken_at", [1, 7, 29])
def test_an_answer_goes_on_where_it_broke_off(tokenizer: EngineTokenizer, broken_at: int) -> None:
    book = AnswerBook(lambda text: tokenizer.encode(text, special=False), 3)
    prompt = tokenizer.encode("A question.", special=False)
    whole = book.answer(prompt, 30, ignore_eos=True).tokens
    rest = book.answer(prompt + whole[:broken_at], 30 - broken_at, ignore_eos=True).tokens
    assert whole[:broken_at] + rest == whole


def test_messages_a_template_refuses_are_a_prompt_error(tokenizer: EngineTokenizer) -> None:
    with pytest.raises(PromptError, match="chat template"):
        tokenizer.chat([{"role": "user", "content": "x"}], {"continue_final_message": True,
                                                            "add_generation_prompt": True})  # fmt: skip


def test_a_folder_without_a_tokenizer_is_an_error(tmp_path: Path) -> None:
    with pytest.raises((OSError, ValueError)):
        load_tokenizer(tmp_path)
