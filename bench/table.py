"""Tables of what waxwing-bench measured: `heading WHAT`, `row LABEL < FIGURES`, `peers < LINES`."""

import json
import statistics
import sys

COLUMNS = [
    # heading, how the figure is found, how it is written
    ("accepted/s", lambda f: f["accepted_per_s"] * f["recipients"], "{:.0f}"),
    ("delivered/s", lambda f: f["delivered_per_s"] * f["recipients"], "{:.0f}"),
    ("p50 ms", lambda f: f["latency_ms"]["p50"], "{:.1f}"),
    ("p95 ms", lambda f: f["latency_ms"]["p95"], "{:.1f}"),
    ("p99 ms", lambda f: f["latency_ms"]["p99"], "{:.1f}"),
    ("CPU-s per 1000", lambda f: f["cpu_s_per_1000"] / f["recipients"], "{:.3f}"),
    ("peak MiB", lambda f: f["peak_mib"], "{:.0f}"),
    ("KB written", lambda f: f["bytes_per_message"] / 1000, "{:.1f}"),
    ("twice", lambda f: f["twice"], "{:.0f}"),
]
# In the table of peers a second delivery would be a failure, told beside it.
PEERS = COLUMNS[:-1] + [("syncs", lambda f: f["syncs_per_message"], "{:.2f}")]


def figure(find, figures):
    try:
        return find(figures)
    except (KeyError, TypeError):
        return None


def heading(what):
    print(f"| {what} | " + " | ".join(name for name, _, _ in COLUMNS) + " |")
    print("|---" * (len(COLUMNS) + 1) + "|")


def row(label, figures):
    cells = [figure(find, figures) for _, find, _ in COLUMNS]
    print(f"| {label} | " + " | ".join("–" if cell is None else form.format(cell) for cell, (_, _, form) in zip(cells, COLUMNS)) + " |")


def spread(values, form):
    values = [value for value in values if value is not None]
    if not values:
        return "–"
    middle, low, high = (form.format(value) for value in (statistics.median(values), min(values), max(values)))
    return middle if low == high else f"{middle} [{low}–{high}]"


def peers(lines):
    """Medians and ranges of the rounds; ratios are of one round each, so that what drifts drifts for both."""
    rounds = {}
    for line in lines:
        figures = json.loads(line)
        rounds.setdefault(figures["peer"], {}).setdefault(figures["round"], {}).update(figures)
    print("| | " + " | ".join(name for name, _, _ in PEERS) + " |")
    print("|---" * (len(PEERS) + 1) + "|")
    for peer, measured in rounds.items():
        cells = [spread([figure(find, figures) for figures in measured.values()], form) for _, find, form in PEERS]
        print(f"| {peer} | " + " | ".join(cells) + " |")
    for peer, measured in rounds.items():
        twice = sum(figures.get("twice", 0) for figures in measured.values())
        if twice:
            print(f"\n{peer} delivered {twice:.0f} messages twice.")
    if "postfix" in rounds:
        print("\n| ratio to Postfix, round by round | delivered/s | CPU-s per 1000 | peak memory |\n|---|---|---|---|")
        for peer, measured in rounds.items():
            cells = [ratios(measured, rounds["postfix"], field) for field in ("delivered_per_s", "cpu_s_per_1000", "peak_mib")]
            if peer != "postfix":
                print(f"| {peer} | " + " | ".join(cells) + " |")


def ratios(measured, base, field):
    pairs = [(figures.get(field), base.get(number, {}).get(field)) for number, figures in measured.items()]
    return spread([ours / theirs for ours, theirs in pairs if ours and theirs], "{:.2f}")


if __name__ == "__main__":
    if sys.argv[1] == "heading":
        heading(sys.argv[2])
    elif sys.argv[1] == "row":
        row(sys.argv[2], json.load(sys.stdin))
    else:
        peers(sys.stdin)
