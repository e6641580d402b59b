"""Makes `lora/`: adapters of the tiny AltCLIP in `models/altclip-hf` as PEFT 0.21.2 writes them, and what the adapted model gives.

    python make_lora.py

Both matrices of each adapter are random; `lora_alpha` is twice the rank, so that a reader that forgets the factor is noticed.
`expected.safetensors` has the raw features of the inputs in the model's `golden.safetensors`.
"""

import os
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AltCLIPModel

FOLDER = Path(__file__).resolve().parent


def features(output):
    return output if isinstance(output, torch.Tensor) else output.pooler_output


def main():
    torch.set_num_threads(1)
    torch.manual_seed(181)
    os.chdir(FOLDER)  # the configuration names the base model as it was opened
    model = AltCLIPModel.from_pretrained("models/altclip-hf").eval()
    config = LoraConfig(r=3, lora_alpha=6, target_modules=["query", "value", "q_proj", "fc1"])
    model = get_peft_model(model, config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_((torch.randn_like(parameter) * 32).round() / 128)
    model.save_pretrained(FOLDER / "lora")
    (FOLDER / "lora" / "README.md").unlink(missing_ok=True)
    inputs = load_file(FOLDER / "models" / "altclip-hf" / "golden.safetensors")
    mask = (torch.arange(inputs["input_ids"].shape[1]) < inputs["lengths"][:, None]).long()
    with torch.no_grad():
        text = features(model.get_text_features(input_ids=inputs["input_ids"], attention_mask=mask))
        image = features(model.get_image_features(pixel_values=inputs["pixel_values"]))
    save_file({"text": text.contiguous(), "image": image.contiguous()}, FOLDER / "lora" / "expected.safetensors")
    print(text.shape, image.shape)


if __name__ == "__main__":
    main()
