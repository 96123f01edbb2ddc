"""Writes chats.json (see README.md): what transformers makes of our conversations."""

import json
import tempfile
from pathlib import Path
from typing import Any

import tokenizers
import transformers
from transformers import PreTrainedTokenizerFast

from epp.testing.vocab import Kind, build_model_dir, template_text
from epp.tokenize.contentformat import detect_content_format
from epp.tokenize.conversation import conversation_for_template
from tests.unit.tokenize.corpus import CONVERSATIONS, TOOLS

PAIRS: tuple[tuple[str, Kind], ...] = (("qwen", "qwen"), ("mistral", "tekken"), ("gemma", "qwen"))


def _one(
    reference: PreTrainedTokenizerFast, source: str, messages: list[dict[str, Any]]
) -> dict[str, Any] | None:
    given = conversation_for_template(messages, detect_content_format(source), knows_developer=False)
    try:
        text = reference.apply_chat_template(
            given, tools=TOOLS, chat_template=source, tokenize=False, add_generation_prompt=True
        )
    except Exception:  # noqa: BLE001 -- whatever a template raises
        return None
    return {"text": text, "ids": reference(text, add_special_tokens=False)["input_ids"]}


def main() -> None:
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        for template, kind in PAIRS:
            path = build_model_dir(Path(folder) / kind, kind)
            reference, source = PreTrainedTokenizerFast.from_pretrained(str(path)), template_text(template)
            for title, messages in CONVERSATIONS.items():
                case = {"template": template, "vocabulary": kind, "conversation": title}
                cases.append({**case, "expected": _one(reference, source, messages)})
    made_with = f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}"
    lines = ",\n".join(json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in cases)
    target = Path(__file__).with_name("chats.json")
    target.write_text(f'{{"made_with": "{made_with}", "cases": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
