r"""Where a text may be cut so that encoding the pieces gives exactly the ids of the whole.

Encoding has stages: added tokens are found, each stretch between them is normalized, split into
pre-tokens by regular expressions, and each pre-token is merged by BPE on its own. A cut is harmless where
no stage looks across it. Two kinds of place qualify, and which of them a model has is decided once, from
its ``tokenizer.json``:

**In plain text** (``|`` marks the cut)::

    A letter followed by a space and a letter       fox| jumps
    a letter followed by a double quote             name|": "x
    a visible character, one newline, then a letter done.\n|Next

with ASCII letters (after a newline also CJK ideographs). The model qualifies if its only
normalizer is NFC, its model is BPE without dropout, and its pre-tokenizer splits by regular expressions
made of alternatives from the list below. For each of them: no match contains both sides of such a cut,
matching up to the cut finds the same match when the text ends there, and none looks behind. (The
one look-ahead, ``\s+(?!\S)``, could change only for the lone newline of the third kind; it is then the same
one-character piece by ``\s+``.) None of the characters beside a cut takes part in a composition of NFC
across it.

**Before an added token** that no other added token overlaps and that takes no white space from its left.
Every model has that; for those that do not qualify for cuts in plain text it is all they get.

Both are then tried on the probe texts, and a model that fails is not cut at all.
"""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from epp.tokenize.backends import Backend
from epp.tokenize.probe import probe_texts

_IDEOGRAPHS = "\u4e00-\u9fff"
_VISIBLE = "!-~\u3001\u3002\uff01-\uff1f" + _IDEOGRAPHS
_IN_TEXT = re.compile(rf'[A-Za-z](?= [A-Za-z]|")|[{_VISIBLE}]\n(?=[A-Za-z{_IDEOGRAPHS}])')
_LAST_CUT_WINDOW = 1024  # characters; plain text has a cut every few words
_LETTER = re.compile(rf"[A-Za-z{_IDEOGRAPHS}]")

_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_ALL_LETTERS = (
    frozenset({r"[^\r\n\p{L}\p{N}]?\p{L}+"}),
    frozenset({r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+"}),
    frozenset({r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"}),
    frozenset({r" ?\p{L}+"}),
    *(
        frozenset(
            rf"[^\r\n\p{{L}}\p{{N}}]?{word}{suffix}"
            for word in (f"{_UPPER}*{_LOWER}+", f"{_UPPER}+{_LOWER}*")
        )
        for suffix in ("", f"{_SUFFIX}?")
    ),
)
"""Sets of alternatives that leave no letter unmatched: a word, perhaps after one character that is neither
newline, letter nor (mostly) digit."""
_ALL_SPACE = frozenset({r"\s+(?!\S)", r"\s+"})
_KNOWN_ALTERNATIVES = frozenset(
    {
        # contractions
        _SUFFIX,
        *("'s", "'t", "'re", "'ve", "'m", "'ll", "'d"),
        # words
        *(word for words in _ALL_LETTERS for word in words),
        r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+""",
        "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
        # digits
        *(r"\p{N}", r"\p{N}+", r" ?\p{N}+", r"\p{N}{1,2}", r"\p{N}{1,3}"),
        # signs, perhaps with the newlines after them
        *(
            rf" ?{signs}+{tail}"
            for signs in (r"[^\s\p{L}\p{N}]", r"[\p{P}\p{S}]")
            for tail in ("", r"[\r\n]*", r"[\r\n/]*")
        ),
        # white space
        r"\s*[\r\n]+",
        *_ALL_SPACE,
    }
)
_GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


@dataclass(frozen=True, slots=True)
class CutRule:
    """A model's safe places to cut. ``pattern`` None: nowhere."""

    pattern: re.Pattern[str] | None
    in_text: bool
    """Whether plain text can be cut, not only before added tokens."""

    def next_cut(self, text: str, start: int) -> int | None:
        """First cut at or soon after ``start``; depends only on the text around it."""
        if self.pattern is None:
            return None
        found = self.pattern.search(text, start)
        if found is None:
            return None
        return found.end() if self.in_text else found.start()

    def last_cut(self, text: str) -> int:
        """Last place to cut ``text``, whatever may follow it; 0: none."""
        if self.pattern is None:
            return 0
        for window in (_LAST_CUT_WINDOW, len(text)):
            start = max(len(text) - window, 0)
            found = deque(self.pattern.finditer(text, start), maxlen=1)
            if found:
                return found[0].end() if self.in_text else found[0].start()
        return 0


NO_CUTS = CutRule(None, in_text=False)


def find_cut_rule(tokenizer: dict[str, Any], backend: Backend, mentioned: str) -> CutRule:
    """Safe cuts of a model, by the structure of its ``tokenizer.json`` and by trial.

    Only added tokens that occur in ``mentioned``, the text of its chat templates, are considered to cut at:
    a search for all of thousands would cost more than it saves.
    """
    added: list[dict[str, Any]] = tokenizer.get("added_tokens") or []
    if _splits_predictably(tokenizer) and all(map(_is_clear_of_cuts, added)):
        rule = CutRule(_IN_TEXT, in_text=True)
    else:
        rule = CutRule(_before_tokens(added, mentioned), in_text=False)
    return rule if _holds(rule, backend, probe_texts(tokenizer)) else NO_CUTS


def _splits_predictably(tokenizer: dict[str, Any]) -> bool:
    model: dict[str, Any] = tokenizer.get("model") or {}
    if model.get("type", "BPE") != "BPE" or model.get("dropout"):
        return False
    normalizers = _flatten(tokenizer.get("normalizer"), "normalizers")
    if any(step.get("type") != "NFC" for step in normalizers):
        return False
    patterns = [_pattern(step) for step in _flatten(tokenizer.get("pre_tokenizer"), "pretokenizers")]
    known = [_alternatives(pattern) for pattern in patterns if pattern is not None]
    return (
        None not in patterns
        and all(alternatives <= _KNOWN_ALTERNATIVES for alternatives in known)
        and any(map(_covers_text, known))
    )


def _covers_text(alternatives: frozenset[str]) -> bool:
    """Whether each letter and each white-space character falls into some match, so that cuts are seams."""
    return alternatives >= _ALL_SPACE and any(letters <= alternatives for letters in _ALL_LETTERS)


def _flatten(step: Any, children: str) -> list[dict[str, Any]]:
    if not step:
        return []
    if step.get("type") == "Sequence":
        return [inner for child in step.get(children, ()) for inner in _flatten(child, children)]
    return [step]


def _pattern(step: dict[str, Any]) -> str | None:
    """Regular expression a pre-tokenizer step splits by; "" if it only maps bytes; None: something else."""
    if step.get("type") == "ByteLevel" and not step.get("add_prefix_space", True):
        return _GPT2_PATTERN if step.get("use_regex", True) else ""
    if step.get("type") == "Split" and step.get("behavior") == "Isolated" and not step.get("invert"):
        regex = step.get("pattern", {}).get("Regex")
        return regex if isinstance(regex, str) else None
    return None


def _alternatives(pattern: str) -> frozenset[str]:
    """The alternatives of a regular expression, split at the bars outside groups and classes."""
    parts = [""]
    depth, in_class = 0, False
    for unit in re.findall(r"\\.|[^\\]", pattern, re.DOTALL):
        if unit == "|" and depth == 0 and not in_class:
            parts.append("")
            continue
        if not in_class:
            depth += (unit == "(") - (unit == ")")
        in_class = unit == "[" or (in_class and unit != "]")
        parts[-1] += unit
    return frozenset(part for part in parts if part)


def _is_clear_of_cuts(token: dict[str, Any]) -> bool:
    """Whether an added token can be found, or not found, regardless of cuts in plain text."""
    content: str = token["content"]
    inner = any(
        (left == "\n" and _LETTER.match(right)) or (_LETTER.match(left) and right in ' "')
        for left, right in pairwise(content)
    )
    grabs = (token.get("lstrip") and _LETTER.match(content[:1])) or (
        token.get("rstrip") and _LETTER.match(content[-1:])
    )
    return not (inner or grabs or token.get("single_word"))


def _before_tokens(added: Sequence[dict[str, Any]], mentioned: str) -> re.Pattern[str] | None:
    if any(token.get("single_word") for token in added):
        return None
    contents = [token["content"] for token in added if token["content"]]
    greedy = {token["content"] for token in added if token.get("lstrip") or token.get("normalized")}
    safe = [
        content
        for content in contents
        if content in mentioned
        and not any(other.startswith(content) for other in greedy)
        and not any(_overlaps(other, content) for other in contents)
    ]
    return re.compile("|".join(map(re.escape, sorted(safe)))) if safe else None


def _overlaps(other: str, content: str) -> bool:
    """Whether an occurrence of ``other`` can begin before ``content`` and reach into it."""
    tails = (other[start:] for start in range(1, len(other)))
    return any(tail.startswith(content) or content.startswith(tail) for tail in tails)


def _holds(rule: CutRule, backend: Backend, texts: Sequence[str]) -> bool:
    for text in texts:
        pieces = list(_pieces(rule, text))
        if len(pieces) > 1 and backend.encode(pieces)[0] != backend.encode([text])[0]:
            return False
    return True


def _pieces(rule: CutRule, text: str) -> Iterator[str]:
    start = 0
    while (cut := rule.next_cut(text, start + 1)) is not None and start < cut < len(text):
        yield text[start:cut]
        start = cut
    yield text[start:]
