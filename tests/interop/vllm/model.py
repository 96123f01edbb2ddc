"""Model folders a real vLLM serves on the CPU: a vocabulary of real size on two small layers.

Only names, shapes and tokenizer matter to a picker, so there are no weights: ``--load-format dummy`` draws
them at start. A LoRA adapter cannot be drawn, so its few tensors are written here, in the layout of
safetensors (an 8-byte little-endian length, a JSON header, the raw values).
"""

import json
import random
from array import array
from pathlib import Path

from epp.testing.vocab import build_model_dir

TEMPLATE = "qwen"
"""The chat template the engines serve with (see ``epp.testing.vocab``)."""
LAYERS = 2
HIDDEN = 64
HEAD_DIM = 32
_CONFIG = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "vocab_size": 151_680,
    "hidden_size": HIDDEN,
    "intermediate_size": 128,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
}
_LORA_RANK = 8
_PROJECTIONS = {"q_proj": 2 * HEAD_DIM, "v_proj": HEAD_DIM}


def write_model(folder: Path) -> Path:
    """A folder ``vllm serve --load-format dummy`` takes, and so does our tokenizer."""
    build_model_dir(folder, "qwen", template=TEMPLATE)
    (folder / "config.json").write_text(json.dumps(_CONFIG), encoding="utf-8")
    return folder


def write_adapter(folder: Path, seed: int) -> Path:
    """A LoRA adapter on the query and value projections of :func:`write_model`'s model."""
    folder.mkdir(parents=True)
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "m",
        "r": _LORA_RANK,
        "lora_alpha": _LORA_RANK,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(_PROJECTIONS),
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "adapter_model.safetensors").write_bytes(_safetensors(_tensors(random.Random(seed))))
    return folder


def _tensors(chooser: random.Random) -> dict[str, tuple[list[int], bytes]]:
    """Name → shape and raw float32 values."""
    tensors = {}
    for layer in range(LAYERS):
        for projection, width in _PROJECTIONS.items():
            stem = f"base_model.model.model.layers.{layer}.self_attn.{projection}"
            for part, shape in (("lora_A", [_LORA_RANK, HIDDEN]), ("lora_B", [width, _LORA_RANK])):
                values = array("f", (chooser.gauss(0, 0.1) for _ in range(shape[0] * shape[1])))
                tensors[f"{stem}.{part}.weight"] = (shape, values.tobytes())
    return tensors


def _safetensors(tensors: dict[str, tuple[list[int], bytes]]) -> bytes:
    header: dict[str, object] = {}
    end = 0
    for name, (shape, data) in tensors.items():
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + len(data)]}
        end += len(data)
    head = json.dumps(header).encode()
    return len(head).to_bytes(8, "little") + head + b"".join(data for _, data in tensors.values())
