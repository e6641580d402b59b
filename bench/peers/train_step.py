"""A whole step of contrastive training in hua and in torch, in turn: towers forward, InfoNCE, backward, AdamW.

    python train_step.py [--rounds 12] [--threads 2] [--batch 64] [--only PATTERN] [--json FILE]

Both train a ViT-Ti/16 at 128 x 128 pixels (width 192, 12 layers, 3 heads) and a BERT of 4 layers (width 256, 4 heads, 12,000 tokens; 6 to 18
tokens a text, 12 on average), all parameters, batch 64. Each side is a process of its own: a line in, a step, a line of JSON out; rounds go
through all sides in turn, after two that are not counted. A side's figure is its median, its least beside it; memory is the most that the
process had (`VmHWM`); what importing torch alone takes of it is noted apart.

torch's shapes: eager and compiled, f32 and bf16 by autocast, AdamW fused, texts padded to the longest with a mask. The best counts.
Run it on a machine that does nothing else: ratios of wall-clock times of two threads bear no company.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SIDES = ["hua f32", "hua bf16", "hua f32 recompute", "torch eager f32", "torch compile f32", "torch eager bf16", "torch compile bf16"]


def peak_mib():
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def torch_side(name, batch, threads):
    """One of torch's shapes, as a process."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    base = peak_mib()
    torch.set_num_threads(threads)
    torch.manual_seed(7)

    class Block(nn.Module):
        def __init__(self, width, heads, post):
            super().__init__()
            self.heads, self.post = heads, post
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

        def attention(self, x, mask):
            b, n, w = x.shape
            q, k, v = self.qkv(x).view(b, n, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
            x = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            return self.out(x.transpose(1, 2).reshape(b, n, w))

        def forward(self, x, mask=None):
            if self.post:
                x = self.norm1(x + self.attention(x, mask))
                return self.norm2(x + self.down(F.gelu(self.up(x))))
            x = x + self.attention(self.norm1(x), mask)
            return x + self.down(F.gelu(self.up(self.norm2(x))))

    class Towers(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch = nn.Conv2d(3, 192, 16, 16)
            self.token = nn.Parameter(torch.randn(192))
            self.places = nn.Parameter(torch.randn(65, 192))
            self.blocks = nn.ModuleList(Block(192, 3, False) for _ in range(12))
            self.norm, self.project = nn.LayerNorm(192), nn.Linear(192, 256, bias=False)
            self.tokens, self.positions = nn.Embedding(12_000, 256), nn.Parameter(torch.randn(64, 256))
            self.text_norm = nn.LayerNorm(256)
            self.text_blocks = nn.ModuleList(Block(256, 4, True) for _ in range(4))
            self.text_project = nn.Linear(256, 256, bias=False)
            self.scale = nn.Parameter(torch.tensor(1 / 0.07).log())

        def forward(self, pixels, ids, mask):
            x = self.patch(pixels).flatten(2).transpose(1, 2)
            x = torch.cat([self.token.expand(len(x), 1, -1), x], 1) + self.places
            for block in self.blocks:
                x = block(x)
            image = F.normalize(self.project(self.norm(x[:, 0])).float(), dim=-1)
            y = self.text_norm(self.tokens(ids) + self.positions[: ids.shape[1]])
            for block in self.text_blocks:
                y = block(y, mask)
            text = F.normalize(self.text_project(y[:, 0]).float(), dim=-1)
            logits = self.scale.exp() * image @ text.T
            labels = torch.arange(len(logits))
            return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2

    model = Towers()
    pixels = torch.randn(batch, 3, 128, 128)
    lengths = torch.tensor([6 + i * 7 % 13 for i in range(batch)])
    longest = int(lengths.max())
    ids = torch.randint(0, 12_000, (batch, longest))
    mask = (torch.arange(longest) < lengths[:, None])[:, None, None, :]
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.1, fused=True)
    run = torch.compile(model) if "compile" in name else model

    def step():
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled="bf16" in name):
            loss = run(pixels, ids, mask)
        loss.backward()
        optimiser.step()
        return loss.item()

    for line in sys.stdin:
        start = time.perf_counter()
        loss = step()
        seconds = time.perf_counter() - start
        print(json.dumps({"loss": loss, "seconds": seconds, "peak_mib": peak_mib(), "import_mib": base}), flush=True)


def command(side, batch, threads):
    kind, *shape = side.split()
    if kind == "torch":
        return [sys.executable, __file__, "--side", side, "--batch", str(batch), "--threads", str(threads)]
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    program = [str(target / "release/examples/train_step"), str(batch), "--threads", str(threads), "--precision", shape[0]]
    return program + (["--recompute"] if "recompute" in shape else [])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--only", default="")
    parser.add_argument("--json")
    parser.add_argument("--side")
    options = parser.parse_args()
    if options.side:
        return torch_side(options.side, options.batch, options.threads)

    environment = dict(os.environ, OMP_NUM_THREADS=str(options.threads), MKL_NUM_THREADS=str(options.threads))
    sides = {}
    for side in SIDES:
        if re.search(options.only, side):
            arguments = command(side, options.batch, options.threads)
            sides[side] = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    samples = {side: [] for side in sides}
    for turn in range(-2, options.rounds):
        for side in list(sides):
            process = sides[side]
            try:
                process.stdin.write("\n")
                process.stdin.flush()
                sample = json.loads(process.stdout.readline())
            except (OSError, ValueError):
                print(f"{side}: no answer, left out", file=sys.stderr)
                del sides[side]
                continue
            if turn >= 0:
                samples[side].append(sample)
    for process in sides.values():
        process.stdin.close()
        process.wait()
    report(samples)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"options": vars(options), "samples": samples}, indent=1) + "\n")


def report(samples):
    seconds = {side: [sample["seconds"] for sample in all] for side, all in samples.items() if all}
    best = min((statistics.median(all) for side, all in seconds.items() if side.startswith("torch")), default=None)
    print("| side | median, ms | least, ms | times torch's best | peak, MiB | of that import |")
    print("| --- | --- | --- | --- | --- | --- |")
    for side, all in seconds.items():
        median, last = statistics.median(all), samples[side][-1]
        ratio = f"{best / median:.2f}" if best else "-"
        print(f"| {side} | {1e3 * median:.0f} | {1e3 * min(all):.0f} | {ratio} | {last['peak_mib']:.0f} | {last.get('import_mib', 0):.0f} |")


if __name__ == "__main__":
    main()
