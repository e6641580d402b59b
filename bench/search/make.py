"""Vectors to search, with the answers that are right.

Made ones are clustered, not uniform: a common direction, clusters of very different sizes about it, and noise that is wide in a few
dimensions and narrow in most, as embeddings have it. Half of the queries are rows with noise, as pictures are to pictures; the others
are about another common direction, as texts are to pictures, where scores are low and close to each other. A gallery of one's own is two
`.npy` files of `hua embed`, of pictures and of texts; its queries are pictures with noise, and those texts.

A folder of vectors has `rows.f32`, `queries.f32` (of length 1, without any header) and `width`; `exact.npy` (of each query the best rows
by products in f64), `picked.npy` (one row of a hundred, the same for all queries) and `exact_picked.npy`; and `far.f32`, the first hundred
rows turned round, which are far from every query and so may be added without changing an answer.
"""

import numpy

CLUSTERS = 2000
QUERIES = 200
BEST = 10
SHARE = 100  # one row of so many is picked, if one picks
PIECE = 1 << 14


def load(folder, name):
    """`[count, width]`, mapped."""
    return numpy.memmap(folder / name, numpy.float32, "r").reshape(-1, int((folder / "width").read_text()))


def noise(random, count, width):
    """`[count, width]`: rows of length 1, widest in the first dimensions."""
    return unit(random.standard_normal((count, width), dtype=numpy.float32) / numpy.sqrt(1 + numpy.arange(width, dtype=numpy.float32) / 16))


def unit(x):
    return (x / numpy.linalg.norm(x, axis=-1, keepdims=True)).astype(numpy.float32)


def made(folder, count, width):
    """Rows and queries, the same each time."""
    random = numpy.random.default_rng(7)
    centres, common = noise(random, CLUSTERS, width), noise(random, 2, width)
    rows = numpy.memmap(folder / "rows.part", numpy.float32, "w+", shape=(count, width))
    for start in range(0, count, PIECE):
        n = min(PIECE, count - start)
        of = (random.random(n) ** 2 * CLUSTERS).astype(int)
        rows[start : start + n] = unit(common[0] + 0.7 * centres[of] + 0.5 * noise(random, n, width))
    rows.flush()
    half = QUERIES // 2
    pictures = unit(rows[random.choice(count, half, replace=False)] + 0.2 * noise(random, half, width))
    texts = unit(common[1] + 0.4 * centres[random.choice(CLUSTERS, half)] + 0.4 * noise(random, half, width))
    return numpy.stack([pictures, texts], 1).reshape(-1, width)


def gallery(folder, file, texts):
    """Rows of a file, and queries about them."""
    random = numpy.random.default_rng(7)
    x, half = unit(numpy.load(file).astype(numpy.float32)), QUERIES // 2
    x.tofile(folder / "rows.part")
    near = unit(x[random.integers(len(x), size=half)] + 0.2 * unit(random.standard_normal((half, x.shape[1])).astype(numpy.float32)))
    texts = numpy.resize(unit(numpy.load(texts).astype(numpy.float32)), near.shape)
    return numpy.stack([near, texts], 1).reshape(-1, x.shape[1])


def exact(rows, queries, picked=None):
    """`[queries, BEST]`: the best rows by products in f64, of those that are among the best by products in f32."""
    k = 4 * BEST
    scores, best = numpy.full((len(queries), 0), 0, numpy.float32), numpy.full((len(queries), 0), 0)
    numbers = numpy.arange(len(rows)) if picked is None else picked
    for start in range(0, len(numbers), PIECE):
        some = numbers[start : start + PIECE]
        piece = rows[some] if picked is not None else rows[start : start + PIECE]
        scores = numpy.concatenate([scores, queries @ piece.T], 1)
        best = numpy.concatenate([best, numpy.broadcast_to(some, (len(queries), len(some)))], 1)
        if scores.shape[1] > k:
            top = numpy.argpartition(-scores, k - 1, 1)[:, :k]
            scores, best = numpy.take_along_axis(scores, top, 1), numpy.take_along_axis(best, top, 1)
    answers = []
    for query, candidates in zip(queries.astype(numpy.float64), best):
        candidates = numpy.sort(candidates)
        order = numpy.argsort(-(rows[candidates].astype(numpy.float64) @ query), kind="stable")
        answers.append(candidates[order[:BEST]])
    return numpy.array(answers)


def make(folder, count, width, files=None):
    """All files of the folder, unless they are there."""
    if (folder / "rows.f32").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    queries = gallery(folder, *files) if files else made(folder, count, width)
    (folder / "width").write_text(str(queries.shape[1]))
    rows = load(folder, "rows.part")
    picked = numpy.arange(0, len(rows), SHARE)
    queries.tofile(folder / "queries.f32")
    (-rows[:100]).tofile(folder / "far.f32")
    numpy.save(folder / "picked.npy", picked)
    numpy.save(folder / "exact.npy", exact(rows, queries))
    numpy.save(folder / "exact_picked.npy", exact(rows, queries, picked))
    (folder / "rows.part").rename(folder / "rows.f32")
