"""Tables and a plot of the samples that `search.py` took."""

import statistics

CLEAN = 0.02  # of a search's time, that threads waited for a core
ENOUGH = 10  # clean searches
COLOURS = {"hua": "#ff725c", "faiss": "#4269d0", "numpy": "#9c6b4e", "usearch": "#3ca951"}
ASKED = {"one": "one query", "picked": "one query, of 1 % of the rows", "eight": "eight at once, all eight"}


def figure(samples):
    """Seconds of a search: the median and the 90th percentile of the clean ones, or if there are not enough the least of all."""
    clean, least = sorted(took for took, waited in samples if waited < CLEAN * took), min(took for took, _ in samples)
    made = {"clean": len(clean), "all": len(samples), "least": least, "enough": len(clean) >= ENOUGH}
    if not made["enough"]:
        return {"p50": least, "p90": least, **made}
    return {"p50": statistics.median(clean), "p90": clean[int(0.9 * (len(clean) - 1))], **made}


def times(of, hua):
    """How many times hua's: medians, or if one of them has none what both took at the least."""
    what = "p50" if of["enough"] and hua["enough"] else "least"
    return of[what] / hua[what]


def start(side):
    """Seconds from the start of a process to its first answer: the median of the clean ones, or if there are not three the least."""
    clean = [took for took, waited in side["starts"] if waited < CLEAN * took]
    return f"{statistics.median(clean) * 1e3:.0f}" if len(clean) >= 3 else f"{min(took for took, _ in side['starts']) * 1e3:.0f} min"


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def milliseconds(made):
    p50, p90 = (f"{made[what] * 1e3:.2f}" for what in ("p50", "p90"))
    return f"{p50} / {p90}" if made["enough"] else f"{p50} min"


def searches(cell):
    """A row for each side: what its searches took, how many times hua's that is, and what they found."""
    made = {name: {question: figure(samples) for question, samples in side["samples"].items()} for name, side in cell.items()}
    rows = []
    for name, figures in made.items():
        row = [name]
        for question in ASKED:
            of = figures[question]
            ratio = f" (**{times(of, made['hua'][question]):.1f}**)" if "hua" in made and name != "hua" else ""
            row.append(milliseconds(of) + ratio)
        found, memory = cell[name]["recall"], cell[name]["memory"]
        row.append(" · ".join(f"{recall:.4f}" for recall in found["one"]))
        row += [f"{min(found['picked']):.4f}", start(cell[name]), f"{memory['all']:.0f} ({memory['own']:.0f})"]
        row.append(f"{sum(f['clean'] for f in figures.values())}/{sum(f['all'] for f in figures.values())}")
        rows.append(row)
    asked = [f"{text}, ms: p50 / p90 (times hua's)" for text in ASKED.values()]
    recall = ["recall at 10: pictures · texts", "of 1 %, the lesser"]
    return table(["side", *asked, *recall, "first answer of a new process, ms", "MB resident (of no file)", "clean searches/all"], rows)


def files(entry):
    count, _ = entry["rows"]
    rows, text = [], ""
    for name, built in entry["built"].items():
        catalogue = f" and a catalogue of {built['catalogue'] / count:.0f}" if "catalogue" in built else ""
        each = f"{built['bytes'] / count:.0f}{catalogue}"
        rows.append([name, f"{built['seconds']:.1f}", f"{(built['bytes'] + built.get('catalogue', 0)) / 1e6:.0f}", each])
        if "commits" in built:
            commits = sorted(built["commits"])
            most = f"the slowest of {len(commits)} {commits[-1] * 1e3:.0f} ms"
            text = (
                f"\nhua adds 100 items with vectors to these and commits in {statistics.median(commits) * 1e3:.0f} ms (median; {most}).\n"
            )
    return table(["side", "written from vectors at hand, s", "MB", "bytes an item"], rows) + text


def plot(data, path):
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "hua", "svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif"})
    from matplotlib import pyplot

    cells = [(name, threads, cell) for name, entry in data["vectors"].items() for threads, cell in entry["cells"].items()]
    canvas, axes = pyplot.subplots(1, len(cells), figsize=(4.2 * len(cells), 2.9), squeeze=False, layout="constrained")
    for axis, (name, threads, cell) in zip(axes[0], cells):
        names = list(cell)[::-1]
        values = [figure(cell[side]["samples"]["one"])["p50"] * 1e3 for side in names]
        bars = axis.barh(names, values, color=[COLOURS[side.split()[0]] for side in names])
        axis.bar_label(bars, [f"{value:.3g}" for value in values], padding=2)
        axis.set(title=f"{name}, {threads} thread{'s' if threads != '1' else ''}", xlabel="ms a query, p50", xscale="log")
        axis.margins(x=0.2)
        axis.spines[["top", "right"]].set_visible(False)
    canvas.savefig(path, metadata={"Date": None})


def write(data, folder):
    run = data["runs"][-1]
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    hua = " and ".join(dict.fromkeys(r["hua"] for r in data["runs"]))
    commands = ", ".join(dict.fromkeys(f"`{r['command']}`" for r in data["runs"]))
    parts = [
        f"""# Exact search, hua beside its peers

The same vectors and the same queries, hua and each peer in turn on the same cores; what the sides are given is in
[bench/search](../bench/search/README.md), the raw samples are in `bench-search.json`.

![milliseconds a query](bench-search.svg)

Machine: {run["cpu"]}, {run["cores"]} cores, {", ".join(run["instructions"])}; {run["system"]}. {versions}, Python {run["python"]}; hua at {hua},
{run["rustc"]}. {run["date"]}. Commands: {commands}.

A search's time is wall-clock time in the side's own process, from the query's numbers to the numbers of the best ten rows. It is
clean if the threads of the side waited for a core for less than {100 * CLEAN:.0f} % of it; figures are of clean searches, or, marked `min`, the
least of all where there are not {ENOUGH}; then a ratio is of what both sides took at the least. The page cache is warm throughout. Recall is against products in f64 of the vectors in f32.
"""
    ]
    for name, entry in data["vectors"].items():
        count, width = entry["rows"]
        parts.append(f"## {name}: {count:,} vectors of {width}\n")
        for threads, cell in entry["cells"].items():
            parts.append(f"{threads} thread{'s' if threads != '1' else ''}:\n\n{searches(cell)}")
        parts.append(files(entry))
    (folder / "bench-search.md").write_text("\n".join(parts))
    plot(data, folder / "bench-search.svg")
