"""Texts on which tokenizers like to disagree: two encoders, or two ways of cutting, are compared on them."""

from collections.abc import Sequence
from functools import cache
from typing import Any

_MAX_ADDED_TOKENS = 64  # enough to see each kind of flag; some vocabularies reserve a thousand

_SAMPLES = (
    "",
    " ",
    "\n",
    "The quick brown fox jumps over the lazy dog.",
    "I've said it's DON'T, they'Ll, we'RE; 'twas rock'n'roll 'S 'll",
    "  two before,   three within and two after  ",
    "tabs\tand\t\tmore\t \t, form\x0cfeed, vertical\x0btab, \x1f unit, no\u00a0break, thin\u2009space",
    "one\ntwo\n\nthree\n \nfour\r\nfive\r\n\r\nsix \n seven\n\n\n   eight\t\n",
    "end in spaces   \n",
    "0 12 345 6789 1234567890 3.14 1,000,000 1e-9 0xFF \u0665\u0666\u0667 \u00bd \u2167",
    'def f(x: int) -> str:\n    return f"{x!r:>10}"  # note\n\n\nclass A:\n\tpass\n',
    '{"name": "get_weather", "arguments": {"city": "Z\u00fcrich", "days": [1, 2, 3]}}\n',
    '{"a":"b","c":["d","e"],"f":{"g":null}}',
    "https://example.org/a/b?c=d&e=f#g /usr/bin/env //comment /* block */ <a href='x'>y</a>",
    "caf\u00e9 cafe\u0301 na\u00efve \u1e69 s\u0323\u0307 \u00c5 A\u030a \u212b \ufb01 \u2126",
    (
        "\u4f60\u597d\uff0c\u4e16\u754c\u3002\n\u4eca\u5929\u5929\u6c14\u5f88\u597d\uff01\u6211"
        "\u4eec\u53bb\u516c\u56ed\u5427\u3002"
    ),
    (
        "\u3053\u3093\u306b\u3061\u306f\u4e16\u754c \u30ab\u30bf\u30ab\u30ca \u548c\u82f1 mixed "
        "\ud55c\uad6d\uc5b4 \ubb38\uc7a5"
    ),
    (
        "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u0395\u03bb\u03bb\u03b7\u03bd"
        "\u03b9\u03ba\u03ac \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \u0939\u093f"
        "\u0928\u094d\u0926\u0940 \u0e44\u0e17\u0e22"
    ),
    "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e8\U0001f1ed \u2764\ufe0f x\U0001f680y",
    "\u0000\u0001\u007f\u0080\ufeff\ufffd\U0010fffd\ue000",
    "CamelCaseWords XMLHttpRequest snake_case_name kebab-case-name SCREAMING_CASE iPhone McDonald",
    "... !!! ??? --- === ::: ,,, \"quoted\" 'single' (paren) [brack] {brace} $100 50% a+b=c\n/path\n//\n",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "<|im_start|> <|eot_id|> [INST] <s> </s> <unk> <think> \u2581 \u0120 \u010a",
)


@cache
def _mixed() -> str:
    return "\n".join(_SAMPLES) + " ".join(reversed(_SAMPLES))


def probe_texts(tokenizer: dict[str, Any]) -> Sequence[str]:
    """Texts to compare on, the model's own added tokens among them in all positions."""
    added = [token["content"] for token in tokenizer.get("added_tokens", ())][:_MAX_ADDED_TOKENS]
    around = [f"a{token}b {token} \n{token}\n c\t{token}{token} {token}" for token in added]
    return [*_SAMPLES, _mixed(), *around, "".join(around)]
