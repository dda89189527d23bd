"""Draws the table as an SVG picture that is readable on light and dark pages."""

from xml.sax.saxutils import escape

from figures import Figure
from table import goal, quotient, time

WIDTH, LEFT, BARS, PITCH, BAR, TOP, BOTTOM = 860, 318, 270, 42, 13, 84, 34

STYLE = """
  text { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; }
  .title { font-size: 16px; font-weight: 600; }
  .name, .title, .value { fill: #1f2328; }
  .ours-value { fill: #1f2328; font-weight: 600; }
  .note { fill: #59636e; font-size: 11px; }
  .met { fill: #1a7f37; } .missed { fill: #bc4c00; }
  .ours { fill: #1f7a5c; } .peer { fill: #b9c0c8; }
  .limit { fill: none; stroke: #b9c0c8; stroke-dasharray: 3 2; }
  .goal { stroke: #bc4c00; stroke-width: 2; }
  @media (prefers-color-scheme: dark) {
    .name, .title, .value, .ours-value { fill: #e6edf3; }
    .note { fill: #9198a1; }
    .met { fill: #3fb950; } .missed { fill: #f0883e; }
    .ours { fill: #3fbf92; } .peer { fill: #59636e; }
    .limit { stroke: #59636e; }
    .goal { stroke: #f0883e; }
  }
"""


def text(x: float, y: float, kind: str, content: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{kind}">{escape(content)}</text>'


def bar(x: float, y: float, width: float, kind: str) -> str:
    width = max(width, 1)
    return f'<rect x="{x:g}" y="{y:g}" width="{width:.1f}" height="{BAR}" rx="2" class="{kind}"/>'


def limit_of(figure: Figure) -> float | None:
    """The seconds that pleat may take according to its goal; None if it has no such goal."""
    for one in figure.row.goals:
        if one.of == "seconds":
            return one.limit
        if one.of == "ratio" and figure.peer:
            return one.limit * figure.peer.wall.median
        if one.of == "times" and figure.peer:
            return figure.peer.wall.median / one.limit
    return None


def verdict(figure: Figure) -> str:
    """The ratio, the goal, and whether it is met."""
    one, value, met = figure.verdicts[0]
    found = "" if one.of == "seconds" else quotient(value, figure.row.is_in_times) + ", "
    return f"{found}goal {goal(one)} {'✓' if met else '✗'}"


def pair(figure: Figure, y: float) -> list[str]:
    """Draws two bars with their own scale: the longest one fills the available width."""
    ours, limit = figure.ours.wall.median, limit_of(figure)
    theirs = figure.peer.wall.median if figure.peer else limit
    scale = BARS / max(ours, theirs, limit)
    second = y + BAR + 2
    middle = y + BAR - 3
    lines = [
        text(0, middle, "name", figure.row.title),
        text(0, second + BAR - 3, "note", figure.peer.title if figure.peer else "the goal"),
        bar(LEFT, y, ours * scale, "ours"),
        bar(LEFT, second, theirs * scale, "peer" if figure.peer else "limit"),
    ]
    if figure.peer:
        x = LEFT + limit * scale
        lines.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - 3}" y2="{second}" class="goal"/>')
    # The text is right of the bar, or right of the tick if that is just behind the bar.
    end = LEFT + ours * scale
    tick = LEFT + limit * scale if figure.peer else 0
    behind = tick if end - 2 <= tick <= end + 60 else end
    state = "met" if figure.verdicts[0][2] else "missed"
    return lines + [
        text(behind + 6, middle, "ours-value", time(ours)),
        text(LEFT + theirs * scale + 6, second + BAR - 3, "value", time(theirs)),
        text(LEFT + BARS + 72, middle, state, verdict(figure)),
    ]


def picture(figures: list[Figure], subtitle: str) -> str:
    """Draws a pair of bars for each row that has a goal for its time."""
    shown = [figure for figure in figures if limit_of(figure) is not None]
    height = TOP + PITCH * len(shown) + BOTTOM
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-16 0 {WIDTH + 32} {height}"'
        f' width="{WIDTH + 32}" height="{height}" role="img" aria-labelledby="title">',
        '<title id="title">Run time of pleat and its peers</title>',
        f"<style>{STYLE}</style>",
        text(0, 26, "title", "Run time of pleat and its peers"),
        text(0, 46, "note", subtitle),
        text(0, 62, "note", "Medians. Each pair has its own scale. Tick: the goal for pleat."),
        bar(LEFT + BARS + 72, 35, BAR, "ours"),
        text(LEFT + BARS + 92, 46, "name", "pleat"),
        bar(LEFT + BARS + 72, 51, BAR, "peer"),
        text(LEFT + BARS + 92, 62, "name", "peer, named below the job"),
    ]
    for place, figure in enumerate(shown):
        lines += pair(figure, TOP + PITCH * place)
    return "\n".join([*lines, "</svg>"]) + "\n"
