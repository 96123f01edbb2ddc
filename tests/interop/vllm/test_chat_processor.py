"""``chat_processor=vllm`` against vLLM's own package, in its own interpreter."""

import json
import subprocess
import sysconfig
from pathlib import Path

import pytest

from epp.testing.vocab import cached_model_dir
from tests.interop.vllm.server import vllm_python

pytestmark = pytest.mark.vllm

ROOT = Path(__file__).parents[3]
_SCRIPT = """
import json, sys
sys.path.append(sys.argv[2])  # ours, behind vLLM's: what its environment lacks
from frontend.postprocess.engine_packages import _Parsed, _Vllm, _render
from frontend.postprocess.pieces import merged

package = _Vllm()
tokenizer = package.tokenizer(sys.argv[1], trust_remote_code=False)
schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
tools = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "tools": tools}
prompt = _render(tokenizer, body)

def read(tool_parser, reasoning_parser, text):
    parser = package.parser(_Parsed(tokenizer, tool_parser, reasoning_parser, body, prompt))
    out = []
    for token in tokenizer.encode(text, add_special_tokens=False):
        out += parser.feed(tokenizer.decode([token]), [token])
    return [repr(piece) for piece in merged(out + parser.finish())]

call = 'Hi.<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>'
print(json.dumps({
    "prompt": tokenizer.decode(prompt),
    "calls": read("hermes", None, call),
    "plain": read(None, None, call),
}))
"""


def test_vllms_template_and_parsers_are_used(tmp_path: Path) -> None:
    folder = cached_model_dir(tmp_path, "tiny")
    argv = [vllm_python(), "-c", _SCRIPT, str(folder), sysconfig.get_path("purelib")]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["prompt"].endswith("<|im_start|>assistant\n")
    assert found["calls"] == [
        "Content(text='Hi.')",
        "CallStart(name='f')",
        """CallArguments(text='{"a": 1}')""",
    ]
    assert len(found["plain"]) == 1
