"""Makes what the default model's recipes start from: a tokenizer, a model at its start, and the teachers' vectors.

    pip install -r requirements.txt
    python prepare.py DATA OUT          # DATA: the folder of emoji-9l; about 20 minutes on two cores

Only the split `train` of the data is read. What it writes into OUT:

* `start/`: a model of AltCLIP's shape in Hugging Face's layout. Its tokenizer is XLM-R's (MIT), cut down to the pieces that the training texts
  and common words of the nine languages need; its token table begins as the text teacher's, in 256 principal directions; all else is random.
* `texts.tsv`, `texts.safetensors`, `texts.txt`: what the text tower learns in `text.toml`, and the vector that each text should get.
  Names and keyword lists of a concept, in whatever language, should get the concept's vector; common words (from `wordfreq`,
  CC-BY-SA-4.0) and single keywords keep the teacher's own, so that the tower knows words beyond the training list; a few words
  beside each other get the sum of theirs.
* `images.safetensors`, `images.txt`: what the image tower should say of the training pictures, by the names that hua gives them.

Vectors of texts are two teachers' side by side, each less the mean of its language (a language's vectors are nearer to each other than
translations are), in the principal directions of all, of length one.
"""
import argparse
import base64
import io
import json
import shutil
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from teachers import E5, ImageTeacher, Use

LANGUAGES = ["en", "zh", "es", "fr", "ru", "ja", "ko", "ar", "it"]
HERE = Path(__file__).resolve().parent
WIDTH = 256
# What squares of the linear map's numbers cost beside squares of its errors; features have a spread of one.
RIDGE = 3e3


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--words", type=int, default=20000, help="common words of each language")
    parser.add_argument("--pieces", type=int, default=16200, help="pieces of the tokenizer, special ones included")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--leave-out-style", type=int, action="append", default=[], help="a style whose pictures are not used")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    texts = [json.loads(line) for line in open(options.data / "train_texts.jsonl", encoding="utf-8")]
    for text in texts:
        # A text is a line of a table: narrow spaces and the like become spaces.
        text["text"] = " ".join(text["text"].split())
    words = common_words(options.words) + single_keywords(texts)
    e5 = E5(HERE / "model/tokenizer.json", options.threads)
    concepts = targets(options.out, [e5, Use(options.threads)], texts, words)
    start(options.out / "start", e5, texts, words, options.pieces)
    shown = {image: concepts[t["concept"]] for t in texts for image in t["image_ids"]}
    pictures(options, ImageTeacher(options.threads), shown)


def common_words(count):
    """`[(language, word, share)]`: the most common words of each language that have a letter and no digit."""
    import wordfreq

    found = []
    for language in LANGUAGES:
        some = wordfreq.top_n_list(language, 3 * count)
        some = [w for w in some if any(c.isalpha() for c in w) and not any(c.isdigit() for c in w)][:count]
        found += [(language, word, wordfreq.word_frequency(word, language)) for word in some]
    return found


def single_keywords(texts):
    """`[(language, keyword, share)]`: the keywords of the training concepts one by one, each as common as a rare word."""
    found = {(t["lang"], keyword) for t in texts if t["kind"] == "keyword" for keyword in t["text"].split(", ")}
    return [(language, keyword, 1e-6) for language, keyword in sorted(found)]


def unit(rows):
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-9)


def centred(teacher, texts, words):
    """The teacher's vectors of texts and of words, each less the mean of its language and of length one."""
    # Languages share words, and each is asked for once.
    asked = {text: i for i, text in enumerate(dict.fromkeys([t["text"] for t in texts] + [word for _, word, _ in words]))}
    vectors = teacher.vectors(list(asked))
    of_texts, of_words = vectors[[asked[t["text"]] for t in texts]], vectors[[asked[word] for _, word, _ in words]]
    names = {code: [i for i, t in enumerate(texts) if t["lang"] == code and t["kind"] == "name"] for code in LANGUAGES}
    # Words have a mean of their own: they stand further from names than names from each other.
    of_language = {code: [i for i, w in enumerate(words) if w[0] == code] for code in LANGUAGES}
    for_texts = {code: of_texts[rows].mean(0) for code, rows in names.items()}
    for_words = {code: of_words[rows].mean(0) for code, rows in of_language.items()}
    of_texts = of_texts - np.stack([for_texts[t["lang"]] for t in texts])
    return unit(of_texts), unit(of_words - np.stack([for_words[w[0]] for w in words]))


def targets(out, teachers, texts, words):
    """Writes the texts and their vectors: the teachers' side by side, in the principal directions of all. Returns the concepts' vectors."""
    own, of_words = (np.concatenate(rows, 1) for rows in zip(*(centred(teacher, texts, words) for teacher in teachers)))
    concepts = defaultdict(list)
    for i, t in enumerate(texts):
        concepts[t["concept"]].append(i)
    centres = {concept: unit(own[rows].mean(0)) for concept, rows in concepts.items()}
    sample = np.concatenate([np.stack(list(centres.values())), of_words[:: max(1, len(of_words) // 8000)]])
    values, vectors = np.linalg.eigh(sample.T @ sample)
    directions = vectors[:, ::-1][:, :WIDTH].astype(np.float32)
    print(f"{WIDTH} directions keep {values[::-1][:WIDTH].sum() / values.sum():.3f} of the vectors")

    sums, rows = defaultdict(lambda: np.zeros(own.shape[1], np.float32)), []
    for t in texts:
        rows.append((t["lang"], t["text"]))
        sums[t["text"]] += centres[t["concept"]]
    taught = set(sums)
    for (language, word, _), vector in zip(words, of_words):
        if word not in taught:
            rows.append((language, word))
            sums[word] += vector
    for (language, phrase), vector in phrases(words, of_words):
        if phrase not in sums:
            rows.append((language, phrase))
            sums[phrase] += vector
    rows = sorted(set(rows))
    unique = sorted({text for _, text in rows})
    vectors = unit(np.stack([sums[text] for text in unique]) @ directions).astype(np.float32)
    save_file({"vectors": vectors}, out / "texts.safetensors")
    (out / "texts.txt").write_text("".join(text + "\n" for text in unique), encoding="utf-8")
    (out / "texts.tsv").write_text("".join(f"{language}\t{text}\n" for language, text in rows), encoding="utf-8")
    print(f"{len(unique)} texts, of which {len(taught)} from the training set")
    return {concept: unit(centre @ directions) for concept, centre in centres.items()}


def phrases(words, vectors, rounds=2):
    """`((language, phrase), vector)`: words of a language beside each other at random, two or three, and the sum of their vectors.

    Such sums are near the teachers' own vectors of names (cosine 0.85 on `dev`) and find pictures as well, and cost no teacher's time. They
    teach the tower to read a name word by word, also one that it never met.
    """
    chance = np.random.default_rng(0)
    for language in LANGUAGES:
        rows = [i for i, word in enumerate(words) if word[0] == language]
        between = "" if language in ("zh", "ja") else " "
        for _ in range(rounds):
            order, at = chance.permutation(rows), 0
            while at < len(order):
                some = order[at : at + chance.integers(2, 4)]
                at += len(some)
                yield (language, between.join(words[i][1] for i in some)), unit(vectors[some].sum(0))


def start(folder, teacher, texts, words, count):
    """Writes the model at its start."""
    from tokenizers import Tokenizer

    pieces, table, tokenizer, shape = teacher.pieces, teacher.table, teacher.tokenizer, teacher.shape
    whole = shape["model"]["vocab"]
    shutil.copytree(HERE / "model", folder, dirs_exist_ok=True)
    used = Counter()
    for text in (t["text"] for t in texts):
        used.update(dict.fromkeys(tokenizer.encode(text, add_special_tokens=False).ids, 3.0))
    for _, word, share in words:
        for piece in tokenizer.encode(word, add_special_tokens=False).ids:
            used[piece] += min(share * 1e6, 100) ** 0.5
    # Every character that was met stays, so that nothing that was met becomes unknown.
    characters = Counter("".join(t["text"] for t in texts) + "".join(w[1] for w in words))
    alone = {i for i, piece in enumerate(pieces) if len(piece) == 1 and characters[piece] >= 2}
    keep = set(range(4)) | alone
    for piece, _ in used.most_common():
        if len(keep) >= count - 1:
            break
        keep.add(piece)
    keep = sorted(keep)
    shape["model"]["vocab"] = [whole[i] for i in keep] + [["<mask>", 0.0]]
    shape["added_tokens"][-1]["id"] = len(keep)
    (folder / "tokenizer.json").write_text(json.dumps(shape, ensure_ascii=False, indent=0), encoding="utf-8")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["vocab_size"] = len(keep) + 1
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    small = Tokenizer.from_file(str(folder / "tokenizer.json"))
    lengths = [len(small.encode(t["text"]).ids) for t in texts]
    print(f"{len(keep) + 1} pieces ({len(alone)} single characters); training texts have {np.mean(lengths):.1f} tokens")

    rows = table[keep + [len(pieces) - 1]]
    rows = (rows - rows.mean(0)) @ np.linalg.svd(rows - rows.mean(0), full_matrices=False)[2][:WIDTH].T
    random_weights(folder, rows)


def random_weights(folder, tokens):
    """Writes the weights: matrices by Glorot & Bengio's rule (AISTATS 2010), tables small, `tokens` as large as a random table would be."""
    import torch
    from transformers import AltCLIPConfig, AltCLIPModel

    torch.manual_seed(0)
    model = AltCLIPModel(AltCLIPConfig.from_pretrained(folder))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "embedding" in name and "patch" not in name:
                parameter.normal_(std=0.02)
            elif parameter.ndim >= 2:
                torch.nn.init.xavier_uniform_(parameter.flatten(1))
        table = dict(model.named_parameters())["text_model.roberta.embeddings.word_embeddings.weight"]
        table.copy_(torch.from_numpy(tokens * (0.02 / tokens.std())))
        # Beside patches of a spread of one or two, positions of 0.02 would not be seen for most of so short a training.
        vision = dict(model.vision_model.embeddings.named_parameters())
        vision["patch_embedding.weight"].mul_(0.5)
        places = vision["position_embedding.weight"]
        places[1:] = 0.7 * torch.from_numpy(waves(int(len(places[1:]) ** 0.5), places.shape[1]))
        # Two towers' random vectors are far apart: CLIP's own start, 1 / 0.07.
        model.logit_scale.fill_(float(np.log(1 / 0.07)))
    model.save_pretrained(folder)


def waves(side, width):
    """Fixed positions of a square of patches, `[side * side, width]`: sines and cosines of rows and of columns, each less its mean."""
    speeds = 10000.0 ** -(np.arange(width // 4) / (width // 4))
    rows, columns = (places.reshape(-1, 1) * speeds for places in np.mgrid[:side, :side])
    found = np.concatenate([np.sin(columns), np.cos(columns), np.sin(rows), np.cos(rows)], 1)
    return (found - found.mean(0)).astype(np.float32)


def pictures(options, teacher, shown):
    """Writes two vectors of each picture side by side: what a linear map of the teacher's features says of the concept's vector (ridge
    regression on all pictures), which it says of unseen pictures too, and the features in their principal directions."""
    names, pixels = [], []
    with open(options.data / "train_imgs.tsv", encoding="ascii") as lines:
        for line in lines:
            name, picture = line.rstrip("\n").split("\t")
            if int(name) % 10 not in options.leave_out_style:
                names.append(name)
                pixels.append(np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")))
    rows = teacher.rows(np.stack(pixels))
    rows = (rows - rows.mean(0)) / (rows.std(0) + 1e-3)
    concepts = np.stack([shown[int(name)] for name in names])
    said = rows @ np.linalg.solve(rows.T @ rows + RIDGE * np.eye(rows.shape[1]), rows.T @ concepts)
    features = rows @ np.linalg.svd(rows[::4], full_matrices=False)[2][:WIDTH].T
    vectors = unit(np.concatenate([unit(said), 0.7 * unit(features)], 1))
    save_file({"vectors": np.ascontiguousarray(vectors, np.float32)}, options.out / "images.safetensors")
    (options.out / "images.txt").write_text("".join(name + "\n" for name in names))
    print(f"{len(names)} pictures")


if __name__ == "__main__":
    main()
