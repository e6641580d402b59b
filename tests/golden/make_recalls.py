"""Makes `recalls.json`: a table of scores with several right answers a query, and what cn_clip 1.6.0's evaluation makes of it.

    python make_recalls.py

The top 10 are sorted as `make_topk_predictions.py` and `make_topk_predictions_tr.py` sort them (which want CUDA as a whole), the
texts of a picture gathered by `transform_ir_annotation_to_tr.py`, the recalls computed by `evaluation.py` and `evaluation_tr.py`.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
from cn_clip.eval import evaluation, evaluation_tr

TEXTS, IMAGES = 37, 24
WITH_TEXT = 20  # no text describes the pictures after these
GRAIN = 64  # scores are whole numbers of 64ths, so that many are equal and f32 holds them all


def write_lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def best(scores):
    """The ten best candidates: Python's sort is stable, so that of equal scores the first in the file wins."""
    return [index for index, _ in sorted(enumerate(scores.tolist()), key=lambda pair: pair[1], reverse=True)[:10]]


def recalls(result):
    mean, at_1, at_5, at_10 = result
    return {"R@1": at_1, "R@5": at_5, "R@10": at_10, "mean_recall": mean}


def main():
    generator = numpy.random.default_rng(181)
    positives = [sorted(generator.choice(WITH_TEXT, generator.integers(1, 4), replace=False).tolist()) for _ in range(TEXTS)]
    scores = generator.integers(-40, 41, (TEXTS, IMAGES))
    for text, images in enumerate(positives):
        scores[text, images] += 9
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        answers = write_lines(folder / "texts.jsonl", ({"text_id": t, "image_ids": ids} for t, ids in enumerate(positives)))
        subprocess.run(
            [sys.executable, "-m", "cn_clip.eval.transform_ir_annotation_to_tr", "--input", answers], check=True, capture_output=True
        )
        forth = write_lines(folder / "t2i.jsonl", ({"text_id": t, "image_ids": best(row)} for t, row in enumerate(scores)))
        back = write_lines(folder / "i2t.jsonl", ({"image_id": i, "text_ids": best(row)} for i, row in enumerate(scores.T)))
        found = evaluation.compute_score(answers, forth), evaluation_tr.compute_score(str(folder / "texts.tr.jsonl"), back)
    golden = {
        "grain": GRAIN,
        "image_ids": positives,
        "scores": scores.tolist(),
        "text_to_image": recalls(found[0]),
        "image_to_text": recalls(found[1]),
    }
    lines = ",\n".join(f' "{key}": {json.dumps(value)}' for key, value in golden.items())
    (Path(__file__).resolve().parent / "recalls.json").write_text(f"{{\n{lines}\n}}\n")
    print(found)


if __name__ == "__main__":
    main()
