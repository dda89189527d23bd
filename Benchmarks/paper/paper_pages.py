"""Formats the tables of Benchmarks/PAPER.md."""

from pages import head, row
from subjects import BITS, SCHEMES

ROUNDED = {"minmax": "round to nearest", "search": "`search`", "gptqmodel": "GPTQ"}


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def perplexities(found: dict, size: int) -> list[str]:
    """A row for each way to an adapted model, a column for each width that was measured."""
    measured = [
        bits
        for bits in BITS
        if any(f"qalora {scheme}-{bits}-{size}" in found for scheme in SCHEMES)
    ]
    lines = head(["way", *(f"{bits} bits" for bits in measured)])

    def add(words: str, method: str, scheme: str, key: str) -> None:
        several = [found.get(f"{method} {scheme}-{bits}-{size}", {}) for bits in measured]
        cells = [one.get(key) for one in several]
        if any(cells):
            lines.append(row([words, *map(number, cells)]))

    for scheme in SCHEMES:
        words = f"base in groups, {ROUNDED[scheme]}, not adapted"
        add(words, "qalora", scheme, "base")
    for scheme in SCHEMES:
        add(f"QLoRA, merged, then {ROUNDED[scheme]}", "qlora", scheme, "folded")
    for scheme in SCHEMES:
        add(f"QA-LoRA on {ROUNDED[scheme]}, apart", "qalora", scheme, "apart")
        add("**the same, folded**", "qalora", scheme, "folded")
    return lines


def summary(model: dict) -> str:
    found = model["found"]
    lines = head(["model in 16 bits", "perplexity", "adapter parameters"])
    for words, key, where in (
        ("not adapted", "16 bits", "perplexity"),
        ("LoRA, apart", "lora", "apart"),
        ("QLoRA on NF4, apart", "qlora", "apart"),
    ):
        one = found.get(key, {})
        lines.append(row([words, number(one.get(where)), f"{one.get('parameters', '–')}"]))
    return "\n".join(lines)


def cost(found: dict) -> list[str]:
    lines = head(["method", "adapter parameters", "tokens a second", "memory, MiB"])
    for method, one in found.items():
        speeds, memory = one["tokensPerSecond"], [value >> 20 for value in one["memory"]]
        spread = [
            f"{values[len(values) // 2]} ({values[0]}–{values[-1]})" for values in (speeds, memory)
        ]
        lines.append(row([method, f"{one['parameters']}", *spread]))
    return lines


def rates(found: dict) -> list[str]:
    tried = [key.split()[1:] for key in found if key.startswith("rate ")]
    columns = sorted({rate for _, rate in tried}, key=float)
    lines = head(["method", *columns])
    for method in dict.fromkeys(method for method, _ in tried):
        several = [found.get(f"rate {method} {rate}", {}) for rate in columns]
        lines.append(row([method, *(number(one.get("apart")) for one in several)]))
    return lines


def sizes(found: dict) -> list[int]:
    keys = [key for key in found if key.startswith("qalora ")]
    return sorted({int(key.rpartition("-")[2]) for key in keys})


def text(document: dict) -> str:
    parts = []
    for model in document["models"].values():
        found = model["found"]
        parts += [f"{model['title']}:", summary(model)]
        for size in sizes(found):
            parts += [f"Groups of {size}:", "\n".join(perplexities(found, size))]
        if any(key.startswith("rate ") for key in found):
            parts.append("\n".join(rates(found)))
        if "cost" in found:
            parts.append("\n".join(cost(found["cost"])))
    return "\n\n".join(parts)
