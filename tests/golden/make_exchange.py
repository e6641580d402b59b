"""Files of vectors as other programs write them, for `crates/hua/src/exchange`, and a look at those that hua writes.

    python tests/golden/make_exchange.py                 makes tests/golden/exchange anew
    python tests/golden/make_exchange.py --check FOLDER  reads what `hua index export` wrote into FOLDER: out (a folder of clip-retrieval),
                                                         out.npy, out.safetensors, out.img_feat.jsonl, out.csv, out.jsonl, out.parquet

Needs numpy 2.4, pandas 3.1, pyarrow 26.0 and safetensors 0.8. The writing follows clip-retrieval 2.45 (`clip_inference/writer.py`: one npy of
f16 and one parquet of a pandas DataFrame a partition) and Chinese-CLIP (`cn_clip/eval/extract_features.py`).
"""

import argparse
import json
import pathlib

import numpy as np
import pandas as pd
from safetensors import safe_open
from safetensors.numpy import save_file

FOLDER = pathlib.Path(__file__).parent / "exchange"
WIDTH = 8


def vectors(rows):
    """Rows that tell their number: row i begins with i + 1 and is of length one."""
    table = np.random.default_rng(7).normal(size=(rows, WIDTH)).astype("float32")
    table[:, 0] = np.arange(1, rows + 1)
    return table / np.linalg.norm(table, axis=1, keepdims=True)


def make():
    names = ["photos/cat.jpg", "photos/海/日落.png", "photos/غروب.jpg", "photos/no caption.jpg", "other/5.jpg"]
    captions = ["a cat", "海边的日落", "غروب الشمس", None, "last"]
    table = vectors(5)
    folder = FOLDER / "clip_retrieval"
    for part, rows in enumerate([slice(0, 3), slice(3, 5)]):
        for name in ["img_emb", "text_emb", "metadata"]:
            (folder / name).mkdir(parents=True, exist_ok=True)
        np.save(folder / f"img_emb/img_emb_{part}.npy", table[rows].astype("float16"))
        np.save(folder / f"text_emb/text_emb_{part}.npy", table[rows].astype("float16"))
        frame = pd.DataFrame({"image_path": names[rows], "caption": captions[rows], "NSFW": ["UNLIKELY", "UNSURE", None][: len(names[rows])],
                              "width": [640, 800, 31][: len(names[rows])], "similarity": [0.25, 0.5, np.nan][: len(names[rows])]})
        frame.to_parquet(folder / f"metadata/metadata_{part}.parquet")
    np.save(FOLDER / "f64.npy", table.astype("float64"))
    np.save(FOLDER / "fortran.npy", np.asfortranarray(table))
    save_file({"embeddings": table}, FOLDER / "f32.safetensors", {"ids": json.dumps(names), "fingerprint": "a-model"})
    save_file({"any": table.astype("float16")}, FOLDER / "f16.safetensors")
    with open(FOLDER / "valid_imgs.img_feat.jsonl", "w") as out:
        for number, row in enumerate(table):
            out.write("{}\n".format(json.dumps({"image_id": 100 + number, "feature": row.tolist()})))


def check(folder):
    """Everything that was exported is read by the programs it is for, and says the same."""
    emb = np.load(folder / "out/img_emb/img_emb_0000.npy")
    frame = pd.read_parquet(folder / "out/metadata/metadata_0000.parquet")
    assert emb.dtype == np.float16 and len(emb) == len(frame), (emb.dtype, len(emb), len(frame))
    assert np.allclose(np.linalg.norm(emb.astype("float32"), axis=1), 1, atol=1e-3)
    paths = list(frame["image_path"])
    npy = np.load(folder / "out.npy")
    assert (npy.astype("float16") == emb).all()
    assert (folder / "out.ids.txt").read_text().splitlines() == paths
    with safe_open(folder / "out.safetensors", "np") as file:
        assert (file.get_tensor("embeddings").astype("float16") == emb).all()
        assert json.loads(file.metadata()["ids"]) == paths
    lines = [json.loads(line) for line in open(folder / "out.img_feat.jsonl")]
    assert np.array_equal(np.array([line["feature"] for line in lines], "float32").astype("float16"), emb)
    table = pd.read_csv(folder / "out.csv")
    assert list(table["path"]) == paths and list(pd.read_parquet(folder / "out.parquet")["path"]) == paths
    for line, path in zip(open(folder / "out.jsonl"), paths, strict=True):
        assert json.loads(line)["path"] == path
    print(f"{len(paths)} items of width {emb.shape[1]}: all as they should be; columns {list(frame.columns)}, {list(table.columns)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", type=pathlib.Path)
    arguments = parser.parse_args()
    check(arguments.check) if arguments.check else make()
