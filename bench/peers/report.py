"""Tables and a plot of the samples that `peers.py` took."""

import pathlib
import statistics

from sides import PEERS
from towers import TOWERS

CLEAN = 0.02  # of wall-clock time, that threads waited for a core
PRECISIONS = ("f32", "bf16", "int8")
TARGETS = {"picture": {"f32": 1.05, "bf16": 1.10, "int8": 1.25}, "text": {"f32": 1.1, "bf16": 1.2, "int8": 1.3}}
COLOURS = {"f32": "#4269d0", "bf16": "#efb118", "int8": "#ff725c"}


def figure(samples, threads):
    """Seconds an item, how that was made, the number of samples and of clean ones.

    One thread: CPU time, in which other work on the machine hardly shows: the median of the clean samples, or if there are not
    three of all. Two threads: wall-clock time: the median of the clean samples, or if there are not three the minimum of all."""
    clean = [s for s in samples if s["waited"] < CLEAN]
    used = clean if len(clean) >= 3 else samples
    if threads == 1:
        value, how = statistics.median(s["cpu"] for s in used), "median"
    elif used is clean:
        value, how = statistics.median(s["wall"] for s in used), "median"
    else:
        value, how = min(s["wall"] for s in samples), "min"
    return {"value": value, "how": how, "samples": len(samples), "clean": len(clean)}


def results(entry):
    """What a cell gave: figures by side, hua first, then peers from the fastest on."""
    made = {name: figure(side["samples"], entry["threads"]) for name, side in entry["sides"].items() if side["samples"]}
    return dict(sorted(made.items(), key=lambda item: (item[0] != "hua", item[1]["value"])))


def ratio(made):
    """hua's speed by the fastest peer's, and that peer's name; None where one of them is missing."""
    peers = [name for name in made if name != "hua"]
    return (made[peers[0]]["value"] / made["hua"]["value"], peers[0]) if peers and "hua" in made else None


def target(entry):
    return TARGETS["picture" if TOWERS[entry["tower"]].patch else "text"][entry["precision"]]


def label(entry):
    tower = TOWERS[entry["tower"]].label
    return tower if not entry["length"] else f"{tower}, {entry['length']} tokens"


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def grouped(data):
    """Cells by tower, length, batch and threads, in the order of TOWERS; in each its precisions."""
    groups = {}
    for entry in data["cells"].values():
        place = list(TOWERS).index(entry["tower"]), entry["length"], entry["threads"], entry["batch"]
        groups.setdefault(place, {})[entry["precision"]] = entry
    return [groups[place] for place in sorted(groups)]


def ratios(data):
    rows, met, known = [], 0, 0
    for group in grouped(data):
        entry = next(iter(group.values()))
        row = [label(entry), entry["threads"], entry["batch"]]
        for precision in PRECISIONS:
            made = results(group[precision]) if precision in group else {}
            found = ratio(made)
            if not found:
                row.append("")
                continue
            value, peer = found
            reached = round(value, 2) >= target(group[precision])
            met, known = met + reached, known + 1
            mark = " (min)" if "min" in (made["hua"]["how"], made[peer]["how"]) else ""
            row.append((f"**{value:.2f}**" if reached else f"{value:.2f}") + f" {peer.split()[0]}{mark}")
        rows.append(row)
    return table(["tower", "threads", "batch", *PRECISIONS], rows), met, known


def speeds(data):
    rows = []
    for group in grouped(data):
        for precision in PRECISIONS:
            if precision not in group:
                continue
            entry = group[precision]
            made = results(entry)
            work = TOWERS[entry["tower"]].flops(entry["length"], needed=True)
            texts = []
            for name, side in made.items():
                rate = 1 / side["value"]
                texts.append(f"{name} {rate:.1f} ({side['clean']}/{side['samples']}{'' if side['how'] == 'median' else ' min'})")
            ours = f"{work / made['hua']['value'] / 1e9:.0f}" if "hua" in made else ""
            rows.append([label(entry), entry["threads"], entry["batch"], precision, "<br>".join(texts), ours])
    return table(["tower", "threads", "batch", "precision", "items/s (clean samples/all)", "hua GOP/s"], rows)


def peaks(data):
    """hua's rate for the operations needed, in % of the peak that hua's example measured in the same process."""
    rows = []
    for group in grouped(data):
        for precision in PRECISIONS:
            entry = group.get(precision)
            hua = (entry or {}).get("sides", {}).get("hua")
            peak = (hua or {}).get("notes", {}).get("peak")
            if not peak or entry["batch"] != 8 or not TOWERS[entry["tower"]].patch:
                continue
            rate = TOWERS[entry["tower"]].flops(0, needed=True) / figure(hua["samples"], entry["threads"])["value"]
            rows.append([label(entry), entry["threads"], precision, f"{rate / 1e9:.0f}", f"{peak / 1e9:.0f}", f"{100 * rate / peak:.0f} %"])
    return table(["tower, batch 8", "threads", "precision", "GOP/s", "peak", "of peak"], rows) if rows else ""


def footprints(data):
    """Memory and the first result, at batch 1 on one thread, of each vendor's fastest."""
    rows = []
    for group in grouped(data):
        for precision in PRECISIONS:
            entry = group.get(precision)
            if not entry or entry["batch"] != 1 or entry["threads"] != 1:
                continue
            vendors = set()
            for name in results(entry):
                side = entry["sides"][name]
                if not side.get("memory") or name.split()[0] in vendors:
                    continue
                vendors.add(name.split()[0])
                start = min(side["starts"], key=lambda s: s["cpu"])
                rows.append([
                    label(entry), precision, name, f"{side['memory']['peak']:.0f}", f"{side['memory']['now']:.0f}",
                    f"{start['cpu']:.2f}", f"{min(s['wall'] for s in side['starts']):.2f}",
                ])  # fmt: skip
    return table(["tower", "precision", "side", "peak MB", "MB while running", "start, CPU s", "start, s"], rows)


def plot(data, path):
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "hua", "svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif"})
    from matplotlib import pyplot

    threads = sorted({entry["threads"] for entry in data["cells"].values()})
    figure_, axes = pyplot.subplots(len(threads), 1, figsize=(13, 3.2 * len(threads)), sharex=False, squeeze=False, layout="constrained")
    for axis, count in zip(axes[:, 0], threads):
        groups = [g for g in grouped(data) if next(iter(g.values()))["threads"] == count]
        ticks = []
        for x, group in enumerate(groups):
            entry = next(iter(group.values()))
            ticks.append(f"{label(entry).replace(', ', chr(10))}\nbatch {entry['batch']}")
            for i, precision in enumerate(PRECISIONS):
                found = ratio(results(group[precision])) if precision in group else None
                if not found:
                    continue
                at = x + (i - 1) * 0.26
                axis.bar(at, found[0], 0.24, color=COLOURS[precision], label=precision if x == 0 else None)
                wanted = target(group[precision])
                name = "target" if x == 0 and i == 2 else None
                axis.plot([at - 0.13, at + 0.13], [wanted, wanted], color="black", linewidth=1.2, label=name)
        axis.axhline(1, color="#888888", linewidth=0.8)
        axis.set_xticks(range(len(groups)), ticks, fontsize=6)
        axis.set_ylabel("hua's speed / best peer's")
        axis.set_title(f"{count} thread{'s' if count > 1 else ''}", loc="left")
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(ncols=4, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), fontsize=8)
    figure_.savefig(path, metadata={"Date": None})


TEXT = """# hua beside its peers, on CPUs

Whole towers with random weights of the same shapes; hua and each peer in turn, with the same number of threads on the same cores. A
ratio is hua's speed by that of the **fastest peer of the same precision in the same run**, which is named beside it; bold where the
target is reached: in {met} of the {known} cells measured, of 108. The raw samples are in `bench-cpu.json`; what each peer is given is in
[bench/peers](../bench/peers/README.md).

![ratios](bench-cpu.svg)

{machine}

One thread: CPU time of the process, median (of the clean samples if there are three or more). Two threads: wall-clock time, median of
the clean samples; where there are not three, the minimum of all, marked `min`, which is not to be ranked within 15 %. A sample is clean
if the threads of the process waited for a core for less than 2 % of it. {counts}

## Ratios

{ratios}
{bf16}
## Of the core's peak

Operations that the embedding needs (a multiply-add is two; of the last layer only what one row wants), by time, in % of what the
core's multiply instructions alone reach in the same process.

{peaks}
## First result and memory

One item, one thread. hua's example draws its weights at random and packs them before its first result, which is most of its start
and of its peak; the peers read files. `hua bench` measures the start and the memory of models in files.

{footprints}
{notes}## Speeds

{speeds}
## Peers left out

Not run again for a tower where they were more than 2.5 times slower than its best peer, or could not start.

{dropped}"""


def write(data, folder):
    """`bench-cpu.md` and `bench-cpu.svg`; what is in `notes.md` here, of where the time goes, is put into the former."""
    notes = pathlib.Path(__file__).with_name("notes.md")
    made, met, known = ratios(data)
    run = data["runs"][-1]
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    dates = sorted({r["date"] for r in data["runs"]})
    commits = " and ".join(dict.fromkeys(entry["hua"] for entry in data["cells"].values()))
    machine = (
        f"Machine: {run['cpu']}, {run['cores']} cores, {', '.join(run['instructions'])}; {run['system']}. "
        f"{versions}, Python {run['python']}; hua at {commits}, {run['rustc']}. {' to '.join(sorted({dates[0], dates[-1]}))}. "
        f"Command: `python peers.py`{', in pieces that `bench-cpu.json` lists' if len(data['runs']) > 1 else ''}."
    )
    sides = [s for entry in data["cells"].values() for s in entry["sides"].values()]
    total = sum(len(s["samples"]) for s in sides)
    clean = sum(x["waited"] < CLEAN for s in sides for x in s["samples"])
    seen = {s["notes"].get("inference_precision") for e in data["cells"].values() for n, s in e["sides"].items() if n == "openvino bf16"}
    bf16 = ""
    if seen and seen != {"bf16"}:
        bf16 = "This machine has no bf16 instructions: OpenVINO, asked for bf16, says that it computes in f32, and is measured as it is.\n"
    left_out = sorted((name.split(" ", 1), why) for name, why in data["dropped"].items())
    (folder / "bench-cpu.md").write_text(
        TEXT.format(
            met=met,
            known=known,
            machine=machine,
            ratios=made,
            bf16=bf16,
            peaks=peaks(data) or "Not measured.\n",
            footprints=footprints(data),
            notes=notes.read_text() + "\n" if notes.exists() else "",
            speeds=speeds(data),
            counts=f"{clean} of {total} samples were clean.",
            dropped="".join(f"- {peer}, {tower}: {why}\n" for (tower, peer), why in left_out),
        )
    )
    plot(data, folder / "bench-cpu.svg")
