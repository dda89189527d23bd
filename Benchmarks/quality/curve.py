"""Draws divergences against bits as an SVG picture that is readable on light and dark pages."""

import math

from picture import STYLE, text
from scatter import COLUMN, COLUMNS, MORE_STYLE, PITCH, TOP, WIDTH, Frame, Panel, mark

# The series: how their markers look, and what the legend says.
SERIES = {
    "pleat, search": ("disc ours", "pleat search"),
    "pleat, search, importance": ("ring ours", "pleat search, importance"),
    "pleat, minmax": ("cross ours", "pleat minmax, symmetric, zeropoint"),
    "pleat, mix": ("square ours", "pleat, mixes of llama.cpp, importance"),
    "pleat, mlx mode": ("diamond ours", "pleat, FP4 and FP8 as MLX makes them"),
    "ggml, importance": ("ring ggml", "llama.cpp, importance"),
    "ggml": ("disc ggml", "llama.cpp"),
    "mlx": ("square mlx", "MLX"),
    "hqq": ("diamond hqq", "HQQ of torchao"),
    "gptqmodel, gptq": ("square gptq", "GPTQModel, GPTQ"),
    "compressed-tensors": ("cross tensors", "compressed-tensors minmax"),
}
FRAME = Frame(
    key="divergence", bits=(2, 9.2), values=(7e-6, 0.3), height=560, grain=1, letter=6.8,
    ticks=(1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1), form="{:g}".format,
)  # fmt: skip
LINES = """
  .path { fill: none; stroke-width: 1.2; opacity: 0.6; }
  .path.ours { stroke: #1f7a5c; } .path.ggml { stroke: #0969da; } .path.mlx { stroke: #bc4c00; }
  .ours.square, .ours.diamond { fill: #1f7a5c; }
  @media (prefers-color-scheme: dark) {
    .path.ours { stroke: #3fbf92; } .path.ggml { stroke: #4493f8; } .path.mlx { stroke: #f0883e; }
    .ours.square, .ours.diamond { fill: #3fbf92; }
  }
"""
# The lines: the best points of these makers, from those with few bits to those with many.
MAKERS = {"ours": "pleat", "ggml": "ggml", "mlx": "mlx"}


def path(panel: Panel, kind: str, maker: str) -> str:
    """A line through the points of a maker that no smaller one of its points is better than."""
    places, least = [], math.inf
    for point in sorted(panel.points, key=lambda point: (point["bits"], point["divergence"])):
        if point["series"].split(",")[0] == maker and point["divergence"] < least:
            least = point["divergence"]
            places.append(f"{panel.x(point):.1f} {panel.y(point):.1f}")
    return f'<path d="M{"L".join(places)}" class="path {kind}"/>'


def picture(found: dict) -> str:
    top = TOP + PITCH * math.ceil(len(SERIES) / COLUMNS) + 40
    panel = Panel(found, top, FRAME, SERIES)
    height = top + FRAME.height + 44
    title = "Divergence of quantized models against their size"
    note = (
        f"{found['title']}: mean KL divergence from 16 bits, in nats, of {found['tokenCount']:,}"
        f" predictions of Python source. Lower is better."
    )
    legend = []
    for place, (kind, words) in enumerate(SERIES.values()):
        x, y = COLUMN * (place % COLUMNS), TOP + PITCH * (place // COLUMNS)
        legend += [mark(x + 6, y - 4, kind), text(x + 18, y, "name", words)]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-16 0 {WIDTH + 32} {height:g}"'
        f' width="{WIDTH + 32}" height="{height:g}" role="img" aria-labelledby="title">',
        f'<title id="title">{title}</title>',
        f"<style>{STYLE}{MORE_STYLE}{LINES}</style>",
        text(0, 26, "title", title),
        text(0, 42, "note", note),
        *legend,
        *(path(panel, kind, maker) for kind, maker in MAKERS.items()),
        *panel.lines(),
        "</svg>",
    ]) + "\n"  # fmt: skip
