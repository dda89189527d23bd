"""Draws errors against bits as an SVG picture that is readable on light and dark pages."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from picture import STYLE, text

WIDTH, LEFT, TOP, PITCH, GAP = 860, 52, 66, 18, 92
COLUMNS, COLUMN = 3, 286
RADIUS = 4.0

# The series: how its markers look, and what the legend says.
SERIES = {
    "pleat, search": ("disc ours", "pleat search"),
    "pleat, search, importance": ("ring ours", "pleat search, importance"),
    "pleat, minmax": ("cross ours", "pleat minmax, symmetric, zeropoint"),
    "ggml": ("disc ggml", "llama.cpp"),
    "ggml, importance": ("ring ggml", "llama.cpp, importance"),
    "mlx": ("square mlx", "MLX"),
    "hqq": ("diamond hqq", "HQQ of torchao"),
    "gptqmodel": ("square gptq", "GPTQModel RTN"),
    "gptqmodel, mse": ("diamond gptq", "GPTQModel RTN, mse"),
    "compressed-tensors": ("cross tensors", "compressed-tensors minmax"),
}
MORE_STYLE = """
  .label { fill: #59636e; font-size: 10.5px; stroke: #fff; stroke-width: 3; paint-order: stroke; }
  .axis { stroke: #d1d9e0; } .lead { stroke: #b9c0c8; }
  .mark { fill: none; stroke: none; }
  .mark.ring, .mark.cross { stroke-width: 1.6; }
  .ours.ring, .ours.cross { fill: none; stroke: #1f7a5c; } .ours.disc { fill: #1f7a5c; }
  .ggml.ring { fill: none; stroke: #0969da; } .ggml.disc { fill: #0969da; }
  .mlx { fill: #bc4c00; } .hqq { fill: #8250df; } .gptq { fill: #bf8700; }
  .tensors.cross { stroke: #cf222e; }
  @media (prefers-color-scheme: dark) {
    .label { fill: #9198a1; stroke: #0d1117; }
    .axis { stroke: #3d444d; } .lead { stroke: #59636e; }
    .ours.ring, .ours.cross { stroke: #3fbf92; } .ours.disc { fill: #3fbf92; }
    .ggml.ring { stroke: #4493f8; } .ggml.disc { fill: #4493f8; }
    .mlx { fill: #f0883e; } .hqq { fill: #ab7df8; } .gptq { fill: #d29922; }
    .tensors.cross { stroke: #f85149; }
  }
"""
TICKS = (0.03, 0.04, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)


def percent(value: float) -> str:
    return f"{100 * value:g} %"


@dataclass(frozen=True)
class Frame:
    """What the panel of a model shows."""

    bits: tuple[float, float]
    values: tuple[float, float]
    height: float
    key: str = "error"  # of the value in a point
    grain: int = 2  # ticks for each bit
    letter: float = 5.9  # width of a letter of a name
    ticks: tuple[float, ...] = TICKS
    form: Callable[[float], str] = percent


FRAMES = {
    "tinylm": Frame((2, 5.6), (0.028, 0.56), 540),
    "smollm2": Frame((2, 4.1), (0.125, 0.56), 320),
}


@dataclass(frozen=True)
class Box:
    """A rectangle that a marker or a name takes."""

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def around(cls, x: float, y: float, width: float) -> "Box":
        return cls(x - width / 2, y - 6, x + width / 2, y + 6)

    def meets(self, other: "Box") -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


class Panel:
    """The picture of one model."""

    def __init__(self, model: dict, top: float, frame: Frame, series: dict):
        (self.least, self.most), (self.low, self.high) = frame.bits, frame.values
        self.model, self.top, self.frame, self.series = model, top, frame, series
        self.height = frame.height
        self.points = [
            point
            for point in model["points"]
            if point["series"] in series and self.x(point) <= WIDTH and point[frame.key] >= self.low
        ]

    def x_of(self, bits: float) -> float:
        return LEFT + (bits - self.least) / (self.most - self.least) * (WIDTH - LEFT)

    def y_of(self, value: float) -> float:
        return self.top + math.log(self.high / value) / math.log(self.high / self.low) * self.height

    def x(self, point: dict) -> float:
        return self.x_of(point["bits"])

    def y(self, point: dict) -> float:
        return self.y_of(point[self.frame.key])

    def axes(self) -> list[str]:
        bottom = self.top + self.height
        lines = [text(0, self.top - 22, "title", self.model["title"])]
        for tick in (tick for tick in self.frame.ticks if self.low <= tick <= self.high):
            y = self.y_of(tick)
            lines.append(line(LEFT, y, WIDTH, y, "axis"))
            lines.append(anchored(LEFT - 6, y + 4, "end", self.frame.form(tick)))
        grain = self.frame.grain
        for step in range(math.ceil(grain * self.least), math.floor(grain * self.most) + 1):
            x = self.x_of(step / grain)
            lines.append(line(x, bottom, x, bottom + 4, "axis"))
            lines.append(anchored(x, bottom + 18, "middle", f"{step / grain:g}"))
        words = "bits per weight, scales and offsets included"
        return [*lines, anchored(WIDTH, bottom + 34, "end", words)]

    def labelled(self) -> list[dict]:
        """The points that are clearly better than all smaller ones, and block types that are the
        best of their size."""
        found, best, size = [], math.inf, 0.0
        key = self.frame.key
        for point in sorted(self.points, key=lambda point: (point["bits"], point[key])):
            is_best, is_first = point[key] < 0.98 * best, point["bits"] > size
            if is_best or (is_first and " " not in point["title"]):
                found.append(point)
            best, size = min(best, point[key]), point["bits"]
        return found

    def labels(self) -> list[str]:
        """Names below, right or left of their points, or farther below if all these are taken."""
        reach = RADIUS + 1
        taken = [
            Box(self.x(one) - reach, self.y(one) - reach, self.x(one) + reach, self.y(one) + reach)
            for one in self.points
        ]
        lines = []
        for point in sorted(self.labelled(), key=self.y, reverse=True):
            name, x, y = short(point["title"]), self.x(point), self.y(point)
            width = self.frame.letter * len(name)
            inside = min(max(x, LEFT + width / 2), WIDTH - width / 2)
            below = [Box.around(inside, y + RADIUS + 7 + 2 * step, width) for step in range(99)]
            sides = [Box.around(x + way * (width / 2 + RADIUS + 5), y, width) for way in (1, -1)]
            aslant = [Box.around(x + way * width / 2, y + RADIUS + 7, width) for way in (1, -1)]
            box = next(
                box
                for box in [below[0], *sides, *aslant, *below]
                if LEFT <= box.left and box.right <= WIDTH and not any(map(box.meets, taken))
            )
            taken.append(box)
            if box.top > y + RADIUS + 6:
                lines.append(line(x, y + RADIUS, x, box.top, "lead"))
            middle = (box.left + box.right) / 2
            lines.append(anchored(middle, box.bottom - 3, "middle", name, "label"))
        return lines

    def lines(self) -> list[str]:
        order = list(self.series)
        points = sorted(self.points, key=lambda point: -order.index(point["series"]))
        marks = [
            mark(self.x(point), self.y(point), self.series[point["series"]][0]) for point in points
        ]
        return [*self.axes(), *self.labels(), *marks]


def short(title: str) -> str:
    """'2 bits, zero point, groups of 64' as 'zero point 64'; the axis shows the bits."""
    if " " not in title:
        return title
    _, form, groups = title.split(", ")
    return f"{form} {groups.split()[-1]}"


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def anchored(x: float, y: float, anchor: str, content: str, kind: str = "note") -> str:
    return text(x, y, kind, content).replace(" class=", f' text-anchor="{anchor}" class=', 1)


def mark(x: float, y: float, kind: str) -> str:
    """A marker of a shape, which is the first word of its kind."""
    shape, r = kind.split()[0], RADIUS
    if shape in ("disc", "ring"):
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r - 0.4:g}" class="mark {kind}"/>'
    paths = {
        "cross": f"M{x - 3:.1f} {y - 3:.1f}l6 6m0 -6l-6 6",
        "square": f"M{x - 3:.1f} {y - 3:.1f}h6v6h-6z",
        "diamond": f"M{x:.1f} {y - r:.1f}l{r} {r}l-{r} {r}l-{r} -{r}z",
    }
    return f'<path d="{paths[shape]}" class="mark {kind}"/>'


def legend(models: dict) -> list[str]:
    used = {point["series"] for model in models.values() for point in model["points"]}
    lines = []
    for place, name in enumerate(name for name in SERIES if name in used):
        kind, words = SERIES[name]
        x, y = COLUMN * (place % COLUMNS), TOP + PITCH * (place // COLUMNS)
        lines += [mark(x + 6, y - 4, kind), text(x + 18, y, "name", words)]
    return lines


def picture(models: dict) -> str:
    """Draws a panel for each model, one below the other."""
    top, panels = TOP + PITCH * math.ceil(len(SERIES) / COLUMNS) + 46, []
    for name, model in models.items():
        panels.append(Panel(model, top, FRAMES[name], SERIES))
        top += panels[-1].height + GAP
    height = top - GAP + 44
    title = "Error of quantized weights against their size"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-16 0 {WIDTH + 32} {height:g}"'
        f' width="{WIDTH + 32}" height="{height:g}" role="img" aria-labelledby="title">',
        f'<title id="title">{title}</title>',
        f"<style>{STYLE}{MORE_STYLE}</style>",
        text(0, 26, "title", title),
        text(0, 42, "note", "Relative RMS error of all quantized weights. Lower is better."),
        *legend(models),
    ]
    for panel in panels:
        lines += panel.lines()
    return "\n".join([*lines, "</svg>"]) + "\n"
