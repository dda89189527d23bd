"""Formats the tables of Benchmarks/QUALITY.md."""

import math

from agreement import largest
from chunks import apart
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


def agreement(found: dict) -> list[list[str]]:
    """The perplexities in every program, and how far they are apart at most."""
    names = list(dict.fromkeys(name for one in scores(found) for name in one))
    lines = head(["weights", "scheme", "text", *names])
    for model in found["models"]:
        title = f"{model['bits']} bits, bias, groups of 32" if "bits" in model else "16 bits"
        for key, language in (("B", "Python"), ("A", "English")):
            of = model["perplexity"][key]
            cells = [f"{of[name]:.5f}" if name in of else "–" for name in names]
            lines.append(row([title, model.get("how", "–"), language, *cells]))
    most = head(["program", "largest difference of the mean loss"])
    most += [row([name, f"{value:.1e}"]) for name, value in largest(found).items()]
    return [lines, most]


def scores(found: dict) -> list[dict]:
    return [one for model in found["models"] for one in model["perplexity"].values()]


def divergences(found: dict) -> list[str]:
    """The points that no point of the same size or a smaller one is better than."""
    lines = head(["weights", "bits", "made by", "divergence, nats", "±", "same top token, %"])
    least = math.inf
    for point in sorted(found["points"], key=lambda one: (one["bits"], one["divergence"])):
        if point["divergence"] < least:
            least = point["divergence"]
            numbers = [f"{point[key]:.2g}" for key in ("divergence", "uncertainty")]
            numbers[0] = f"{least:.3g}"
            setting = [point["title"], f"{point['bits']:.4g}", point["series"]]
            lines.append(row([*setting, *numbers, percent(point["sameTop"])]))
    return lines


def in_chunks(found: dict) -> list[list[str]]:
    """The loss of each chunk and its difference, and what the files have as a whole."""
    lines = head(["weights", "chunk", "pleat", "llama.cpp", "difference"])
    files = head(["weights", "perplexity", "llama.cpp", "divergence from F32", "llama.cpp"])
    for name, file in found["files"].items():
        pairs = zip(file["losses"], file["llama"], apart(file), strict=True)
        for place, (ours, theirs, value) in enumerate(pairs):
            cells = [name, f"{place + 1}", f"{ours:.6f}", f"{theirs:.6f}", f"{value:.1e}"]
            lines.append(row(cells))
        means = [f"{file[key]:.5f}" for key in ("perplexity", "llamaPerplexity")]
        means += [f"{file[key]:.4g}" for key in ("divergence", "llamaDivergence")]
        files.append(row([name, *means]))
    return [lines, files]


def by_programs(found: dict) -> list[list[str]]:
    """What the programs of llama.cpp say of the same files and texts."""
    scores = head(["perplexity", "pleat eval", "llama-perplexity"])
    for name, one in found["perplexity"].items():
        scores.append(row([name, f"{one['pleat']:.4f}", f"{one['llama']:.4f}"]))
    means = head(["log probabilities of F32 by", "pleat eval", "llama-perplexity"])
    for name, title in (("pleat", "pleat eval"), ("llama", "llama-perplexity")):
        one = found["divergence"][name]
        means.append(row([title, f"{one['pleat']:.5f}", f"{one['llama']:.5f}"]))
    matrices = head(["model", "weights", "measured", "added", ".dat"])
    for name, one in found["importance"].items():
        cells = [f"{one['weights']}", f"{one['measured']:.1e}", f"{one['added']:.1e}"]
        matrices.append(row([name, *cells, "same bytes" if one["sameDat"] else "differs"]))
    return [scores, means, matrices]


def text(found: dict) -> str:
    parts = [part for model in found.get("models", {}).values() for part in errors(model)]
    parts += [perplexities(found["perplexity"])] if "perplexity" in found else []
    parts += [in_llama(found["llama"])] if "llama" in found else []
    parts += agreement(found["agreement"]) if "agreement" in found else []
    parts += [divergences(found["divergence"])] if "divergence" in found else []
    parts += in_chunks(found["chunks"]) if "chunks" in found else []
    parts += by_programs(found["programs"]) if "programs" in found else []
    return "\n\n".join("\n".join(part) for part in parts)
