"""Draws perplexities against bits as an SVG picture that is readable on light and dark pages."""

import math

from picture import STYLE, text
from scatter import MORE_STYLE, anchored, line, mark
from subjects import BITS

WIDTH, LEFT, TOP, PITCH, HEIGHT, GAP = 860, 52, 66, 18, 300, 84
SIZE = 32
# The series: the experiment, what of it, how its markers look, and what the legend says.
SERIES = [
    ("qalora search", "folded", "disc ours", "QA-LoRA on pleat search, folded"),
    ("qalora minmax", "folded", "cross ours", "QA-LoRA on round to nearest, folded"),
    ("qalora gptqmodel", "folded", "ring ours", "QA-LoRA on GPTQ, folded"),
    ("qlora gptqmodel", "folded", "diamond gptq", "QLoRA, merged, then GPTQ"),
    ("qlora search", "folded", "disc ggml", "QLoRA, merged, then pleat search"),
    ("qlora minmax", "folded", "ring ggml", "QLoRA, merged, then round to nearest"),
]
LEVELS = [
    ("16 bits", "perplexity", "not adapted"),
    ("lora", "apart", "LoRA"),
    ("qlora", "apart", "QLoRA, apart"),
]
PATHS = """
  .path { fill: none; stroke-width: 1.2; opacity: 0.6; stroke: #59636e; }
  .path.ours { stroke: #1f7a5c; } .path.ggml { stroke: #0969da; } .path.gptq { stroke: #bf8700; }
  .level { stroke: #59636e; stroke-dasharray: 3 3; }
  @media (prefers-color-scheme: dark) {
    .path.ours { stroke: #3fbf92; } .path.ggml { stroke: #4493f8; } .path.gptq { stroke: #d29922; }
    .level { stroke: #9198a1; }
  }
"""


def points(found: dict, experiment: str, key: str) -> dict[int, float]:
    named = {bits: found.get(f"{experiment}-{bits}-{SIZE}", {}).get(key) for bits in BITS}
    return {bits: value for bits, value in named.items() if value is not None}


def panel(model: dict, top: float) -> list[str]:
    found = model["found"]
    series = [(points(found, experiment, key), kind) for experiment, key, kind, _ in SERIES]
    levels = [(found[name][key], words) for name, key, words in LEVELS if name in found]
    values = [value for one, _ in series for value in one.values()] + [value for value, _ in levels]
    low, high = min(values) / 1.02, max(values) * 1.02

    def y_of(value: float) -> float:
        return top + math.log(high / value) / math.log(high / low) * HEIGHT

    def x_of(bits: int) -> float:
        return LEFT + 40 + (BITS[0] - bits) / (BITS[0] - BITS[-1]) * (WIDTH - LEFT - 200)

    bottom = top + HEIGHT
    lines = [text(0, top - 20, "title", model["title"]), line(LEFT, bottom, WIDTH, bottom, "axis")]
    for tick in ticks(low, high):
        lines.append(line(LEFT, y_of(tick), WIDTH, y_of(tick), "axis"))
        lines.append(anchored(LEFT - 6, y_of(tick) + 4, "end", f"{tick:g}"))
    for bits in BITS:
        lines.append(anchored(x_of(bits), bottom + 18, "middle", f"{bits} bits"))
    taken = []
    for value, words in sorted(levels):
        lines.append(line(LEFT, y_of(value), WIDTH, y_of(value), "level"))
        y = y_of(value) - 4
        while any(abs(y - other) < 12 for other in taken):
            y -= 12
        taken.append(y)
        lines.append(anchored(WIDTH, y, "end", f"{words} {value:.2f}"))
    for one, kind in series:
        places = [(x_of(bits), y_of(value)) for bits, value in one.items()]
        if places:
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
            lines.append(f'<path d="M{path}" class="path {kind.split()[1]}"/>')
            lines += [mark(x, y, kind) for x, y in places]
    return lines


def ticks(low: float, high: float) -> list[float]:
    """Round numbers for a logarithmic axis: powers of ten if it covers several."""
    if high / low > 30:
        return [10**n for n in range(math.ceil(math.log10(low)), math.ceil(math.log10(high)))]
    step = 10 ** math.floor(math.log10(high - low))
    for part in (5, 2, 1):
        if (high - low) / (step / part) <= 10:
            step /= part
            break
    first = math.ceil(low / step)
    return [round(step * n, 6) for n in range(first, math.floor(high / step) + 1)]


def picture(models: dict) -> str:
    """Draws a panel for each model, one below the other."""
    lines, half = [], math.ceil(len(SERIES) / 2)
    for place, (_, _, kind, words) in enumerate(SERIES):
        x, y = 430 * (place // half), TOP + PITCH * (place % half)
        lines += [mark(x + 6, y - 4, kind), text(x + 18, y, "name", words)]
    top = TOP + PITCH * half + 46
    for model in models.values():
        if sum(len(points(model["found"], one[0], one[1])) for one in SERIES):
            lines += panel(model, top)
            top += HEIGHT + GAP
    height = top - GAP + 44
    title = "Perplexity after adaptation against bits"
    note = (
        f"Held-out Python source, groups of {SIZE}. Lower is better. Broken lines: adapters apart."
    )
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-16 0 {WIDTH + 32} {height:g}"'
        f' width="{WIDTH + 32}" height="{height:g}" role="img" aria-labelledby="title">',
        f'<title id="title">{title}</title>',
        f"<style>{STYLE}{MORE_STYLE}{PATHS}</style>",
        text(0, 26, "title", title),
        text(0, 42, "note", note),
        *lines,
        "</svg>",
    ]) + "\n"  # fmt: skip
