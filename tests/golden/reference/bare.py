"""Reference code that cannot be imported as a whole: it would want torchvision, timm, lmdb and pkg_resources."""

import importlib.util
import sys
import types
from pathlib import Path


def import_bare(package):
    """Registers `package` (dotted) without running its `__init__.py`, so that single modules of it can be imported."""
    path = None
    name = ""
    for part in package.split("."):
        name = f"{name}.{part}" if name else part
        path = Path(importlib.util.find_spec(part).submodule_search_locations[0]) if path is None else path / part
        module = types.ModuleType(name)
        module.__path__ = [str(path)]
        sys.modules[name] = module
    return module


import_bare("clip")
_cn_package = import_bare("cn_clip.clip")

from cn_clip.clip.bert_tokenizer import FullTokenizer  # noqa: E402

_cn_package._tokenizer = FullTokenizer()

import clip.model as openai_clip  # noqa: E402
import cn_clip.clip.model as cn_clip_model  # noqa: E402


def alt_diffusion_text_module():
    """diffusers' deprecated `modeling_roberta_series.py`, loaded as a lone file."""
    root = Path(importlib.util.find_spec("diffusers").submodule_search_locations[0])
    path = root / "pipelines/deprecated/alt_diffusion/modeling_roberta_series.py"
    spec = importlib.util.spec_from_file_location("modeling_roberta_series", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
