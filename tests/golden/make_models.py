"""Makes the tiny random models of `models/`: one folder for each family and file layout, with inputs, taps and outputs.

Everything is computed by the *reference* code (transformers, cn_clip, OpenAI's clip/model.py, diffusers' text encoder of
AltDiffusion); nothing of hua takes part. Each model is built, filled with seeded noise, saved in its real layout, read back
from the file by the reference loader, and only then run, so the goldens belong to the bytes on disk.

    python make_models.py              # all folders
    python make_models.py clip-hf ...  # some

`reference/` holds the code, one module for each family. README.md says what each folder holds and what the tensors of
`golden.safetensors` are.
"""

import sys
import warnings

import torch
import transformers

from reference import altclip, chinese_clip, clip_hf, clip_openai, taiyi

MAKERS = {
    "clip-hf": clip_hf.clip_hf,
    "clip-hf-eos": clip_hf.clip_hf_eos,
    "clip-openai-rn": clip_openai.clip_openai_rn,
    "clip-openai-vit": clip_openai.clip_openai_vit,
    "clip-openai-vit-state": clip_openai.clip_openai_vit_state,
    "chinese-clip-hf": chinese_clip.chinese_clip_hf,
    "chinese-clip-hf-bin": chinese_clip.chinese_clip_hf_bin,
    "chinese-clip-modelscope": chinese_clip.chinese_clip_modelscope,
    "chinese-clip-pt": chinese_clip.chinese_clip_pt,
    "chinese-clip-pt-bare": chinese_clip.chinese_clip_pt_bare,
    "chinese-clip-rn50": chinese_clip.chinese_clip_rn50,
    "altclip-2022": altclip.altclip_2022,
    "altclip-hf": altclip.altclip_hf,
    "altclip-m18": altclip.altclip_m18,
    "taiyi": taiyi.taiyi,
    "taiyi-fengshen": taiyi.taiyi_fengshen,
    "taiyi-large-h": taiyi.taiyi_large_h,
}


def main():
    warnings.filterwarnings("ignore", "`torch.jit", FutureWarning)
    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    wanted = sys.argv[1:] or list(MAKERS)
    unknown = sorted(set(wanted) - set(MAKERS))
    if unknown:
        sys.exit(f"unknown folders {unknown}; there are {list(MAKERS)}")
    for name in wanted:
        MAKERS[name](name)


if __name__ == "__main__":
    main()
