"""The towers: their sizes, what they cost, and how they look as an ONNX file and as a module of torch.

Weights are random, but of the size that keeps every layer's numbers of order one, so that quantisers see ranges like those of
trained models. ONNX files are written as exporters write them (`MatMul`, `LayerNormalization`, `Softmax`, `Gelu`, opset 20), with
the length of texts and the batch left open. A text tower has no mask: all texts of a batch are of one length, so nobody pads.
"""

import dataclasses
import pathlib

VOCAB = 1000  # only rows that are read cost anything


@dataclasses.dataclass(frozen=True)
class Tower:
    """Sizes of a transformer; pictures of 224 x 224 if it has a `patch`, else ids."""

    label: str
    width: int
    layers: int
    heads: int
    patch: int = 0
    out: int = 0

    def rows(self, length):
        return (224 // self.patch) ** 2 + 1 if self.patch else length

    def flops(self, length, needed=False):
        """Operations of one item in products and attention, two a multiply-add; `needed`: without what only the last
        layer's other rows want, since the embedding is made of one row."""
        n, d = self.rows(length), self.width
        layer = 24 * n * d * d + 4 * n * n * d
        last = 4 * n * d * d + 4 * n * d + 20 * d * d if needed else layer
        ends = 2 * (n - 1) * 3 * self.patch**2 * d + 2 * d * self.out if self.patch else 2 * d * d
        return (self.layers - 1) * layer + last + ends


TOWERS = {
    "vit_b16": Tower("ViT-B/16", 768, 12, 12, patch=16, out=512),
    "vit_l14": Tower("ViT-L/14", 1024, 24, 16, patch=14, out=768),
    "roberta_base": Tower("RoBERTa-base", 768, 12, 12),
    "xlmr_large": Tower("XLM-R-large", 1024, 24, 16),
}


def inputs(name, batch, length, seed=1):
    """A batch of numbers as preprocessed pictures have them, or of ids."""
    import numpy as np

    random = np.random.default_rng(seed)
    if TOWERS[name].patch:
        return random.standard_normal((batch, 3, 224, 224)).astype(np.float32)
    return random.integers(0, VOCAB, (batch, length))


def onnx_file(name, folder):
    """The path of the tower's ONNX file in `folder`; written if it is not there."""
    import onnx

    path = pathlib.Path(folder) / f"{name}.onnx"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        onnx.save(onnx_tower(name), part)
        part.rename(path)
    return path


def onnx_tower(name):
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    tower = TOWERS[name]
    width, patch = tower.width, tower.patch
    random = np.random.default_rng(7)
    nodes, weights = [], []

    def constant(values):
        weights.append(numpy_helper.from_array(np.ascontiguousarray(values), f"w{len(weights)}"))
        return weights[-1].name

    def weight(*shape, deviation=None):
        deviation = shape[0] ** -0.5 if deviation is None else deviation
        return constant(random.standard_normal(shape, np.float32) * np.float32(deviation))

    def op(kind, *inputs, **attributes):
        nodes.append(helper.make_node(kind, list(inputs), [f"v{len(nodes)}"], name=f"n{len(nodes)}", **attributes))
        return nodes[-1].output[0]

    def linear(x, n, m):
        return op("Add", op("MatMul", x, weight(n, m)), weight(m, deviation=0.3))

    def norm(x, eps):
        scale = constant(1 + 0.3 * random.standard_normal(width, np.float32))
        return op("LayerNormalization", x, scale, weight(width, deviation=0.3), axis=-1, epsilon=eps)

    def heads(x, perm):
        shape = constant(np.array([0, 0, tower.heads, width // tower.heads], np.int64))
        return op("Transpose", op("Reshape", x, shape), perm=perm)

    def attention(x):
        q = heads(linear(x, width, width), [0, 2, 1, 3])
        k = heads(linear(x, width, width), [0, 2, 3, 1])
        v = heads(linear(x, width, width), [0, 2, 1, 3])
        scores = op("Div", op("MatMul", q, k), constant(np.float32((width // tower.heads) ** 0.5)))
        mixed = op("Transpose", op("MatMul", op("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
        return linear(op("Reshape", mixed, constant(np.array([0, 0, width], np.int64))), width, width)

    if patch:
        side = 224 // patch
        given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 224, 224])
        kernel = weight(width, 3, patch, patch, deviation=(3 * patch * patch) ** -0.5)
        x = op("Conv", "x", kernel, kernel_shape=[patch, patch], strides=[patch, patch])
        x = op("Transpose", op("Reshape", x, constant(np.array([0, width, side * side], np.int64))), perm=[0, 2, 1])
        shape = op("Concat", op("Shape", "x", start=0, end=1), constant(np.array([1, width], np.int64)), axis=0)
        x = op("Concat", op("Expand", weight(1, 1, width, deviation=1.0), shape), x, axis=1)
        x = op("Add", x, weight(1, tower.rows(0), width, deviation=1.0))
        x = norm(x, 1e-5)
        for _ in range(tower.layers):
            x = op("Add", x, attention(norm(x, 1e-5)))
            y = linear(norm(x, 1e-5), width, 4 * width)
            y = op("Mul", y, op("Sigmoid", op("Mul", y, constant(np.float32(1.702)))))
            x = op("Add", x, linear(y, 4 * width, width))
        x = op("Gather", x, constant(np.int64(0)), axis=1)
        x = op("MatMul", norm(x, 1e-5), weight(width, tower.out))
        x = op("LpNormalization", x, axis=-1, p=2)
    else:
        given = helper.make_tensor_value_info("x", TensorProto.INT64, ["batch", "length"])
        x = op("Gather", weight(VOCAB, width, deviation=1.0), "x")
        length = op("Shape", "x", start=1, end=2)
        positions = op("Slice", weight(1, 512, width, deviation=1.0), constant(np.array([0])), length, constant(np.array([1])))
        x = norm(op("Add", x, positions), 1e-5)
        for _ in range(tower.layers):
            x = norm(op("Add", x, attention(x)), 1e-12)
            y = op("Gelu", linear(x, width, 4 * width), approximate="none")
            x = norm(op("Add", x, linear(y, 4 * width, width)), 1e-12)
        x = op("Tanh", linear(op("Gather", x, constant(np.int64(0)), axis=1), width, width))
    result = helper.make_tensor_value_info(x, TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, name, [given], [result], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def torch_tower(name):
    """The tower as a module: q, k and v as one product, torch's own attention."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    tower = TOWERS[name]
    width = tower.width
    torch.manual_seed(7)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
            self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)

        def attention(self, x):
            b, n, _ = x.shape
            q, k, v = self.qkv(x).view(b, n, 3, tower.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
            return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, width))

        def forward(self, x):
            if tower.patch:
                x = x + self.attention(self.ln1(x))
                y = self.up(self.ln2(x))
                return x + self.down(y * torch.sigmoid(1.702 * y))
            x = self.ln1(x + self.attention(x))
            return self.ln2(x + self.down(F.gelu(self.up(x))))

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.Sequential(*[Block() for _ in range(tower.layers)])
            self.first = nn.LayerNorm(width)
            self.positions = nn.Parameter(torch.randn(tower.rows(512), width))
            if tower.patch:
                self.stem = nn.Conv2d(3, width, tower.patch, tower.patch, bias=False)
                self.token = nn.Parameter(torch.randn(1, 1, width))
                self.last, self.head = nn.LayerNorm(width), nn.Linear(width, tower.out, bias=False)
            else:
                self.stem, self.head = nn.Embedding(VOCAB, width), nn.Linear(width, width)

        def forward(self, x):
            x = self.stem(x)
            if tower.patch:
                x = torch.cat([self.token.expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], 1)
            x = self.blocks(self.first(x + self.positions[: x.shape[1]]))[:, 0]
            return F.normalize(self.head(self.last(x)), dim=-1) if tower.patch else torch.tanh(self.head(x))

    return Whole().eval()
