"""Formats the table as Markdown."""

from figures import Figure, Side, Spread
from rows import MIB, Goal

HEAD = [
    "| job | pleat | user + system | MiB | compared with | time | user + system | MiB | ratio | goal | met |",
    "|---|---|---|---|---|---|---|---|---|---|---|",
]


def time(seconds: float) -> str:
    if seconds < 0.1:
        return f"{1000 * seconds:.1f} ms"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"


def spread(wall: Spread, count: int) -> str:
    """The median, and the range from minimum to maximum."""
    if count == 1:
        return time(wall.median)
    return f"{time(wall.median)} ({time(wall.least)}–{time(wall.most)})"


def processor(side: Side) -> str:
    return f"{side.user:.2f} + {side.system:.2f} s"


def memory(side: Side) -> str:
    return f"{side.peak / MIB:.0f}"


def quotient(value: float, is_in_times: bool) -> str:
    return f"{value:.1f} ×" if is_in_times else f"{value:.2f}"


def ratio(figure: Figure) -> str:
    if figure.ratio is None:
        return "–"
    times = figure.row.is_in_times
    text = quotient(figure.ratio.median, times)
    if figure.ours.count == 1:
        return text
    ends = (quotient(value, times) for value in (figure.ratio.least, figure.ratio.most))
    return f"{text} ({'–'.join(ends)})"


def goal(goal: Goal) -> str:
    limits = {
        "ratio": f"≤ {goal.limit:g}",
        "times": f"≥ {goal.limit:g} ×",
        "work": f"≥ {goal.limit:g} × less work",
        "seconds": f"≤ {goal.limit:g} s" if goal.limit >= 0.1 else f"≤ {1000 * goal.limit:g} ms",
        "processor": f"≤ {goal.limit:.1f} s of work",
        "memory": f"≤ {goal.limit / MIB:g} MiB",
    }
    return limits[goal.of]


def met(figure: Figure) -> str:
    """Whether all goals are met, and which are not."""
    missed = [goal(one) for one, _, holds in figure.verdicts if not holds]
    if not figure.verdicts:
        return "–"
    if not missed:
        return "yes"
    return "**no**" if len(figure.verdicts) == 1 else f"**no**: {', '.join(missed)}"


def measured(side: Side) -> list[str]:
    return [spread(side.wall, side.count), processor(side), memory(side)]


def line(figure: Figure) -> str:
    ours, peer = figure.ours, figure.peer
    cells = [figure.row.title, *measured(ours)]
    if peer is None:
        cells += ["not run" if figure.row.peer else "–", "–", "–", "–"]
    else:
        cells += [peer.title, *measured(peer)]
    goals = ", ".join(goal(one) for one in figure.row.goals) or "–"
    return "| " + " | ".join([*cells, ratio(figure), goals, met(figure)]) + " |"


def table(figures: list[Figure]) -> str:
    return "\n".join([*HEAD, *(line(figure) for figure in figures)])
