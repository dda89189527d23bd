"""Formats the tables of Benchmarks/QUALITY.md."""

from ours import GGML, GGML_WEIGHTED, ROUNDED, SEARCH, WEIGHTED

HOWS = [ROUNDED, GGML, SEARCH, GGML_WEIGHTED, WEIGHTED]


def percent(value: float) -> str:
    return f"{100 * value:.2f}"


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def head(cells: list[str]) -> list[str]:
    return [row(cells), "|---" * len(cells) + "|"]


def perplexities(found: list[dict]) -> list[str]:
    lines = head(["weights", "bits", "scheme", "Python", "English", "error, %", "weighted, %"])
    for one in found:
        error = [percent(one[key]) if key in one else "–" for key in ("error", "weightedError")]
        scores = [f"{one['perplexity'][name]:.3f}" for name in "BA"]
        setting = [one["title"], f"{one['bits']:.4g}", one.get("how", "–")]
        lines.append(row([*setting, *scores, *error]))
    return lines


def errors(model: dict) -> list[list[str]]:
    """A table for groups and one for blocks: a row for each setting, a column for each series."""
    in_groups = [point for point in model["points"] if " " in point["title"]]
    in_blocks = [point for point in model["points"] if point not in in_groups]
    return [table(points) for points in (in_groups, in_blocks) if points]


def table(points: list[dict]) -> list[str]:
    series = sorted({point["series"] for point in points}, key=order)
    lines = head(["weights", "bits", *series])
    for title in sorted({point["title"] for point in points}, key=place):
        of = {point["series"]: point for point in points if point["title"] == title}
        sizes = sorted({point["bits"] for point in of.values()})
        size = " or ".join(f"{bits:.4g}" for bits in sizes)
        cells = [percent(of[name]["error"]) if name in of else "–" for name in series]
        lines.append(row([title, size, *cells]))
    return lines


def place(title: str) -> tuple[str, int, int]:
    """By form, then bits from high to low, then the size of groups."""
    if " " not in title:
        return (title, 0, 0)
    bits, form, size = title.split(", ")
    return (form, -int(bits.split()[0]), int(size.split()[-1]))


def order(series: str) -> tuple[int, str]:
    """Those of pleat come first."""
    maker, _, how = series.partition(", ")
    return (HOWS.index(how), "") if maker == "pleat" else (len(HOWS), series)


def in_llama(found: list[dict]) -> list[str]:
    lines = head(["mix", "same bytes", "pleat", "llama.cpp"])
    for one in found:
        same = "yes" if one["same"] else "**no**"
        scores = [f"{one[key]:.6f}" for key in ("perplexity", "theirs")]
        lines.append(row([one["mix"], same, *scores]))
    return lines


def text(found: dict) -> str:
    parts = [part for model in found.get("models", {}).values() for part in errors(model)]
    parts += [perplexities(found["perplexity"])] if "perplexity" in found else []
    parts += [in_llama(found["llama"])] if "llama" in found else []
    return "\n\n".join("\n".join(part) for part in parts)
