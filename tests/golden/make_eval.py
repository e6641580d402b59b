"""Makes `eval/`: what the scorers of the field make of small random features, for `crates/hua/tests/eval.rs`.

    python make_eval.py

Which code computes what:

* `retrieval.json`: cn_clip 1.6.0's own scripts from features to scores (`make_topk_predictions.py` and `_tr.py`, whose `.cuda()` is made to do
  nothing; `transform_ir_annotation_to_tr.py`, `evaluation.py`, `evaluation_tr.py`), on vectors of +-1/4 whose products are exact, so that many are
  equal; and clip_benchmark 1.6.2's `zeroshot_retrieval.evaluate` on features without ties, since `torch.topk` leaves their order open.
* `classification.json`: clip_benchmark's `zeroshot_classification.evaluate` of given logits, and vision_evaluation 0.2.14, which ELEVATER scores with
  (its imports of OpenCV and pycocotools, which these figures do not use, are empty modules here).
* `zeroshot.json`: cn_clip's `zeroshot_evaluation.py`: the classifier of several templates, and the file that it writes for ELEVATER.
* `probe.json`: scikit-learn's LogisticRegression, which CLIP's protocol names.
* `sums.json`: sums of numpy and of torch, whose order is part of the last digit; torch's with AVX2.
"""

import contextlib
import importlib.util
import io
import json
import os
import runpy
import sys
import tempfile
import types
from pathlib import Path

os.environ["ATEN_CPU_CAPABILITY"] = "avx2"

import numpy
import torch

torch.set_num_threads(1)
OUT = Path(__file__).resolve().parent / "eval"


def write(name, golden):
    OUT.mkdir(exist_ok=True)
    lines = ",\n".join(f' "{key}": {json.dumps(value)}' for key, value in golden.items())
    (OUT / name).write_text(f"{{\n{lines}\n}}\n")
    print(name, (OUT / name).stat().st_size)


def package(name):
    return Path(importlib.util.find_spec(name).submodule_search_locations[0])


def script(name, *arguments):
    """Runs a script of cn_clip as its users do."""
    before, sys.argv = sys.argv, [name, *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            runpy.run_path(str(package("cn_clip") / "eval" / name), run_name="__main__")
    finally:
        sys.argv = before


def stub(name, **contents):
    module = types.ModuleType(name)
    module.__dict__.update(contents)
    sys.modules[name] = module


def as_float(value):
    """`float` as both scorers use it, on an array of one number, which numpy 2.4 refuses."""
    return float(value.item()) if hasattr(value, "item") else float(value)


def lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def chinese_clip(generator):
    """Texts and pictures with ties; up to three pictures a text, a text and some pictures without any."""
    texts, pictures, width = 31, 22, 16
    text_ids = (generator.permutation(900)[:texts] + 100).tolist()
    image_ids = (generator.permutation(900)[:pictures] + 5000).tolist()
    signs = [(generator.integers(0, 2, (n, width)) * 2 - 1) for n in (texts, pictures)]
    positives = [sorted(generator.choice(18, generator.integers(1, 4), replace=False).tolist()) for _ in range(texts)]
    positives[4] = []
    for text, right in enumerate(positives):
        if right and generator.random() < 0.7:
            signs[0][text] = signs[1][right[0]]
            signs[0][text][generator.choice(width, 3, replace=False)] *= -1
    features = [(sign / 4).tolist() for sign in signs]
    torch.Tensor.cuda = lambda self: self
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        names = ["s_texts.jsonl", "s_texts.txt_feat.jsonl", "s_imgs.img_feat.jsonl", "s_predictions.jsonl", "s_tr_predictions.jsonl"]
        answers, text_features, image_features, forth, back = (folder / name for name in names)
        lines(answers, ({"text_id": t, "image_ids": [image_ids[i] for i in right]} for t, right in zip(text_ids, positives)))
        lines(text_features, ({"text_id": t, "feature": row} for t, row in zip(text_ids, features[0])))
        lines(image_features, ({"image_id": i, "feature": row} for i, row in zip(image_ids, features[1])))
        both = ["--image-feats", image_features, "--text-feats", text_features, "--top-k", 10, "--eval-batch-size", 32768]
        script("make_topk_predictions.py", *both, "--output", forth)
        script("make_topk_predictions_tr.py", *both, "--output", back)
        script("transform_ir_annotation_to_tr.py", "--input", answers)
        script("evaluation.py", answers, forth, folder / "s_score.json")
        script("evaluation_tr.py", folder / "s_texts.tr.jsonl", back, folder / "s_tr_score.json")
        names = names[1:] + ["s_score.json", "s_tr_score.json"]
        files = {name: (folder / name).read_text() for name in names}
    return {"text_ids": text_ids, "image_ids": image_ids, "positives": positives, "signs": [s.tolist() for s in signs], "files": files}


def clip_benchmark_retrieval(generator):
    """Pictures with none to five captions, each asked on its own."""
    from clip_benchmark.metrics import zeroshot_retrieval

    pictures, width = 37, 12
    captions = generator.integers(1, 6, pictures)
    captions[5] = 0
    images = generator.integers(-40, 41, (pictures, width))
    of_text = numpy.repeat(numpy.arange(pictures), captions)
    texts = images[of_text] + generator.integers(-45, 46, (len(of_text), width))
    cosines = (texts / numpy.linalg.norm(texts, axis=1, keepdims=True)) @ (images / numpy.linalg.norm(images, axis=1, keepdims=True)).T
    assert numpy.diff(numpy.sort(cosines, 1), axis=1).min() > 1e-6 and numpy.diff(numpy.sort(cosines, 0), axis=0).min() > 1e-6

    class Model:
        encode_image = staticmethod(lambda rows: rows)
        encode_text = staticmethod(lambda rows: torch.tensor(texts[rows.numpy()], dtype=torch.float32))

    starts = numpy.concatenate([[0], numpy.cumsum(captions)])
    names = [[str(row) for row in range(starts[i], starts[i + 1])] for i in range(pictures)]
    batches = [
        (torch.tensor(images[at : at + 8], dtype=torch.float32), names[at : at + 8]) for at in range(0, pictures, 8)
    ]
    tokenizer = lambda rows: torch.tensor([int(row) for row in rows])
    with contextlib.redirect_stderr(io.StringIO()):
        metrics = zeroshot_retrieval.evaluate(Model, batches, tokenizer, "cpu", amp=False, recall_k_list=[1, 5, 10])
    return {"texts": texts.tolist(), "images": images.tolist(), "of_text": of_text.tolist(), "metrics": metrics}


def elevater():
    """vision_evaluation's evaluators."""
    stub("cv2")
    stub("pycocotools")
    stub("pycocotools.cocoeval", Params=object, COCOeval=object)
    stub("pycocotools.coco", COCO=object)
    stub("vision_evaluation.coco_wrapper", CocoWrapper=object, coco_utils=None)
    from vision_evaluation import evaluators

    def figure(evaluator, scores, targets):
        evaluator.add_predictions(scores, targets)
        return float(list(evaluator.get_report().values())[0])

    return {
        "map_11_points": lambda scores, targets: figure(evaluators.MeanAveragePrecisionNPointsEvaluator(11), scores, targets),
        "roc_auc": lambda scores, targets: figure(evaluators.RocAucEvaluator(), scores, targets),
    }


def classification(generator):
    from clip_benchmark.metrics import zeroshot_classification

    zeroshot_classification.float = as_float
    figures = elevater()

    def of_clip_benchmark(logits, targets):
        zeroshot_classification.zero_shot_classifier = lambda *_, **__: None
        zeroshot_classification.run_classification = lambda *_, **__: (torch.tensor(logits).float(), torch.tensor(targets))
        loader = types.SimpleNamespace(dataset=types.SimpleNamespace(classes=list(range(logits.shape[1]))))
        metrics = zeroshot_classification.evaluate(None, loader, None, None, None, "cpu")
        return {name: None if value != value else float(value) for name, value in metrics.items()}

    cases = {}
    # Rows are permutations: no ties within a sample, many within a class. The fourth class has no sample.
    logits = numpy.stack([generator.permutation(9) for _ in range(130)])
    targets = generator.choice([0, 1, 2, 4, 5, 6, 7, 8], 130)
    logits[numpy.arange(130), targets] += 3
    logits = logits * 2 + (numpy.arange(9) == targets[:, None])
    cases["many"] = (logits, targets, ["map_11_points"])
    targets = generator.integers(0, 2, 83)
    logits = numpy.stack([generator.integers(0, 8, 83) * 2, generator.integers(0, 8, 83) * 2 + 3 * targets + 1], 1)
    cases["two"] = (logits, targets, ["map_11_points", "roc_auc"])
    golden = {}
    for name, (logits, targets, more) in cases.items():
        wanted = of_clip_benchmark(logits, targets) | {key: figures[key](logits.astype(float), targets) for key in more}
        golden[name] = {"logits": logits.tolist(), "targets": targets.tolist(), "metrics": wanted}
    # Columns are permutations: torch's sort leaves the order of equals open. The first class has 620 samples, the last none.
    samples, shares = 700, [0.9, 0.3, 0.05, 0.01, 0.0]
    targets = (generator.random((samples, 5)) < shares).astype(int)
    logits = numpy.stack([generator.permutation(samples) for _ in shares], 1)
    logits = numpy.argsort(numpy.argsort(logits + targets * 260 + generator.random(logits.shape) / 2, 0), 0)
    wanted = of_clip_benchmark(logits, targets) | {"map_11_points": figures["map_11_points"](logits.astype(float), targets)}
    golden["several"] = {"logits": logits.tolist(), "targets": [numpy.flatnonzero(row).tolist() for row in targets], "metrics": wanted}
    return golden


def zeroshot(generator):
    """cn_clip's classifier and its file for ELEVATER. The script as a whole wants CUDA and a checkpoint; its functions do not."""
    for name in ["cn_clip.clip.model", "cn_clip.training.main", "cn_clip.clip.utils", "cn_clip.eval.data"]:
        stub(name)
    sys.modules["cn_clip.clip.model"].__dict__.update(convert_weights=None, CLIP=None)
    sys.modules["cn_clip.training.main"].convert_models_to_fp32 = None
    sys.modules["cn_clip.clip.utils"].image_transform = None
    sys.modules["cn_clip.eval.data"].__dict__.update(get_zeroshot_dataset=None, _preprocess_text=lambda text: text)
    stub("cn_clip.clip", tokenize=lambda texts, **_: torch.tensor([int(text) for text in texts]))
    names = runpy.run_path(str(package("cn_clip") / "eval" / "zeroshot_evaluation.py"), run_name="cn_clip_zeroshot")
    names["accuracy"].__globals__["float"] = as_float
    args = types.SimpleNamespace(gpu="cpu", context_length=52, index="")
    classes, templates, width, samples = 7, 3, 64, 40
    texts = generator.integers(-40, 41, (classes * templates, width))
    model = lambda images, tokens: torch.tensor(texts[tokens.numpy()], dtype=torch.float32) if images is None else images.clone()
    prompts = [lambda c, t=t: str(int(c) * templates + t) for t in range(templates)]
    with contextlib.redirect_stderr(io.StringIO()):
        classifier = names["zero_shot_classifier"](model, [str(c) for c in range(classes)], prompts, args)
    # Vectors of +-1/8: cosines are whole numbers of 32nds, so that the softmax alone is rounded.
    signs = [generator.integers(0, 2, (n, width)) * 2 - 1 for n in (classes, samples)]
    targets = generator.integers(0, classes, samples)
    for sample, target in enumerate(targets):
        signs[1][sample][:38] = signs[0][target][:38]
    exact = [torch.tensor(sign / 8, dtype=torch.float32) for sign in signs]
    with tempfile.TemporaryDirectory() as folder:
        args.index = str(Path(folder) / "index.json")
        order = generator.permutation(samples).tolist()
        Path(args.index).write_text(json.dumps(order))
        loader = [(exact[1][at : at + 16], torch.tensor(targets[at : at + 16])) for at in range(0, samples, 16)]
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            top1, outputs = names["run"](model, exact[0].T, loader, args)
    logits = (100 * exact[1].double() @ exact[0].double().T).softmax(-1)
    assert (((logits * 1e6) % 1 - 0.5).abs() > 0.2 * logits).all(), "a sixth digit hangs on the last bit; take another seed"
    predictions = outputs.numpy().tolist()
    # `json_prec_dump` of the script.
    rounded = json.loads(json.dumps(predictions), parse_float=lambda x: round(float(x), 6))
    return {
        "texts": texts.tolist(),
        "templates": templates,
        "classifier": classifier.T.tolist(),
        "signs": [sign.tolist() for sign in signs],
        "targets": targets.tolist(),
        "index": order,
        "predictions": rounded,
        "top1": top1,
    }


def probe(generator):
    """Three overlapping clouds."""
    from sklearn.linear_model import LogisticRegression

    centres = generator.normal(size=(3, 8)) * 0.8
    cases = []
    train_y, test_y = (numpy.arange(n) % 3 for n in (90, 60))
    train_x, test_x = ((centres[y] + generator.normal(size=(len(y), 8))).round(2) for y in (train_y, test_y))
    for penalty in [100.0, 1.0, 0.01]:
        model = LogisticRegression(C=1 / penalty, max_iter=20000, tol=1e-12).fit(train_x, train_y)
        cases.append({"penalty": penalty, "probabilities": model.predict_proba(test_x).tolist(), "acc1": model.score(test_x, test_y)})
    return {
        "train": train_x.tolist(),
        "train_classes": train_y.tolist(),
        "test": test_x.tolist(),
        "test_classes": test_y.tolist(),
        "cases": cases,
    }


def sums():
    """Of (i * 7919 % 1009) / 1009."""
    lengths = [*range(1, 140), *range(500, 540), 1023, 2048, 2050, 5000, 9999, 20000, 32767]
    values = numpy.arange(lengths[-1]) * 7919 % 1009
    single = torch.tensor(values.astype(numpy.float32) / numpy.float32(1009))
    double = values / 1009
    return {
        "lengths": lengths,
        "torch": [single[:n].clone().sum().item() for n in lengths],
        "numpy": [double[:n].copy().sum().item() for n in lengths],
    }


def main():
    assert torch.backends.cpu.get_cpu_capability() == "AVX2"
    seed = numpy.random.default_rng
    write("retrieval.json", {"chinese_clip": chinese_clip(seed(501)), "clip_benchmark": clip_benchmark_retrieval(seed(512))})
    write("classification.json", classification(seed(503)))
    write("zeroshot.json", zeroshot(seed(504)))
    write("probe.json", probe(seed(505)))
    write("sums.json", sums())


if __name__ == "__main__":
    main()
