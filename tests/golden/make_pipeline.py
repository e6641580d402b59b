"""Makes `pipeline/`: texts and picture files through transformers' own processors and models, with the folders of `models/`.

The goldens of `models/` begin with ids and pixels; these begin where a user does. Needs the committed folders only, so that it can run
alone:

    python make_pipeline.py

README.md says what is in the files.
"""

import json
from pathlib import Path

import numpy
import safetensors.torch
import torch
import transformers
from PIL import Image
from transformers.models.chinese_clip.image_processing_pil_chinese_clip import ChineseCLIPImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "pipeline"
PICTURES = ["wide.png", "tall.png"]

FAMILIES = {
    "altclip-hf": (
        transformers.AltCLIPModel,
        lambda folder: transformers.AltCLIPProcessor(
            CLIPImageProcessorPil.from_pretrained(folder), transformers.XLMRobertaTokenizer.from_pretrained(folder)
        ),
        ["le chat on the red sea", "虹 радуга 무지개!"],
    ),
    "chinese-clip-hf": (
        transformers.ChineseCLIPModel,
        lambda folder: transformers.ChineseCLIPProcessor(
            ChineseCLIPImageProcessorPil.from_pretrained(folder), transformers.BertTokenizer.from_pretrained(folder)
        ),
        ["大海上的小红鸟", "Two RED dogs, 兔子吃草。"],
    ),
}


def make_pictures():
    """Waves with noise: RGB, wider than high, larger than the model's; palette, higher than wide, partly smaller."""
    generator = numpy.random.default_rng(171)
    for name, (width, height) in zip(PICTURES, [(75, 50), (29, 44)]):
        y, x, channel = numpy.mgrid[:height, :width, :3]
        waves = 128 + 90 * numpy.sin(x / 5 + 2 * channel) * numpy.cos(y / (4 + channel))
        pixels = (waves + generator.normal(0, 12, waves.shape)).clip(0, 255).astype(numpy.uint8)
        picture = Image.fromarray(pixels)
        if name == "tall.png":
            picture = picture.quantize(24)
        picture.save(FOLDER / name, optimize=True)


@torch.no_grad()
def run(name, kind, processor, texts):
    folder = HERE / "models" / name
    model = kind.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    pictures = [Image.open(FOLDER / picture) for picture in PICTURES]
    inputs = processor(folder)(text=texts, images=pictures, padding=True, return_tensors="pt")
    outputs = model(**inputs)
    tensors = {
        "image_embeds": outputs.image_embeds,
        "input_ids": inputs["input_ids"],
        "lengths": inputs["attention_mask"].sum(1),
        "pixel_values": inputs["pixel_values"],
        "text_embeds": outputs.text_embeds,
    }
    unknown = processor(folder).tokenizer.unk_token_id
    assert not (tensors["input_ids"] == unknown).any(), f"{name}: the vocabulary lacks something: {tensors['input_ids']}"
    safetensors.torch.save_file({k: v.contiguous() for k, v in tensors.items()}, FOLDER / f"{name}.safetensors")
    print(name, {k: list(v.shape) for k, v in tensors.items()})


def main():
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    make_pictures()
    for name, (kind, processor, texts) in FAMILIES.items():
        run(name, kind, processor, texts)
    record = {"pictures": PICTURES, "texts": {name: texts for name, (_, _, texts) in FAMILIES.items()}}
    (FOLDER / "inputs.json").write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
