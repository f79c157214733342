"""Write a tiny random vision-language model that vLLM serves without torchvision: `python -m tests.real.tiny_vlm OUT`.

Idefics3: its image processor works with Pillow alone, and it has none for videos. An image is scaled to at most 2 x 2
tiles of 112 pixels, and all of it once more: 5 tiles of 16 tokens. Its boxes are noise, and differ from image to image.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from analyze.tiny_model import END_ID, MAX_TOKENS, PAD_ID, SEED, SPECIAL_TOKENS, VOCABULARY, trained_tokenizer

TILE, PATCH, SCALE, TILES = 112, 14, 2, 2  # sides in pixels, patches of a token's side, tiles of an image's side
TOKENS_A_TILE = (TILE // PATCH // SCALE) ** 2
# Names that transformers' Idefics3Processor has fixed.
IMAGE = "<image>"
IMAGE_TOKENS = ["<fake_token_around_image>", IMAGE, "<end_of_utterance>", "<global-img>"]
IMAGE_TOKENS += [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]

CHAT_TEMPLATE = """\
{%- for message in messages -%}
<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}\
{% else %}{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}\
{% elif part['type'] in ('image', 'image_url') %}<image>{% endif %}{% endfor %}\
{% endif %}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}
"""


def write_vlm(folder: Path) -> None:
    """Write the model to a new folder: 1 MB, 5 s."""
    import torch
    import transformers as hf

    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=trained_tokenizer([*SPECIAL_TOKENS, *IMAGE_TOKENS]),
        eos_token=SPECIAL_TOKENS[END_ID],
        pad_token=SPECIAL_TOKENS[PAD_ID],
        padding_side="left",
        model_max_length=MAX_TOKENS,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )
    tokenizer.add_special_tokens({"additional_special_tokens": IMAGE_TOKENS})  # they are there; this marks them
    tokenizer.save_pretrained(folder)
    torch.manual_seed(SEED)
    model = hf.Idefics3ForConditionalGeneration(_config(hf, tokenizer.convert_tokens_to_ids(IMAGE))).to(torch.bfloat16)
    model.generation_config = hf.GenerationConfig(eos_token_id=END_ID, pad_token_id=PAD_ID)
    model.save_pretrained(folder)
    for name, told in _processors().items():
        (folder / name).write_text(json.dumps({"processor_class": "Idefics3Processor", **told}))


def _config(hf: Any, image_token: int) -> Any:
    side = 64
    text = {
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": side,
        "intermediate_size": 2 * side,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": side // 2,
        "max_position_embeddings": MAX_TOKENS,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": END_ID,
        "pad_token_id": PAD_ID,
    }
    vision = {
        "hidden_size": side // 2,
        "intermediate_size": side,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": TILE,
        "patch_size": PATCH,
    }
    made = hf.Idefics3Config(
        image_token_id=image_token,
        scale_factor=SCALE,
        tie_word_embeddings=False,
        pad_token_id=PAD_ID,
        vision_config=vision,
        text_config=text,
    )
    made.eos_token_id = END_ID
    return made


def _processors() -> dict[str, dict[str, Any]]:
    """Return the processors' settings, as files: saving them would need torchvision."""
    images = {
        "image_processor_type": "Idefics3ImageProcessor",
        **dict.fromkeys(
            ("do_convert_rgb", "do_image_splitting", "do_normalize", "do_pad", "do_rescale", "do_resize"), True
        ),
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "max_image_size": {"longest_edge": TILE},
        "resample": 1,
        "rescale_factor": 1 / 255,
        "size": {"longest_edge": TILES * TILE},
    }
    return {"preprocessor_config.json": images, "processor_config.json": {"image_seq_len": TOKENS_A_TILE}}


if __name__ == "__main__":
    write_vlm(Path(sys.argv[1]))
