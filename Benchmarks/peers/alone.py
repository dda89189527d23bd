"""The parts of the table in which pleat has an absolute limit, and no peer."""

from jobs import Job
from rows import MIB, Goal, Part, Place, Row
from sparse import LLAMAS

GB = 10**9
RESIDENT = Goal("memory", 64 * MIB)
BITS = 5  # bits per weight in groups of 32, including scale and bias


def inspect(place: Place) -> Part:
    few, header = place.sparse / "few.safetensors", place.sparse / "header.safetensors"
    quick, large = Goal("seconds", 0.015), (Goal("seconds", 0.4), Goal("memory", 128 * MIB))
    cases = [
        ("few", "inspect safetensors, 200 tensors", few, (quick,)),
        ("gguf", "inspect the GGUF, 32,000 tokens", place.gguf, (quick,)),
        ("header", "inspect a header of 20 MB", header, large),
    ]
    jobs = [
        place.short(f"inspect-{key}", title, "inspect", path) for key, title, path, _ in cases
    ]
    rows = [Row(title, f"inspect-{key}", goals=goals) for key, title, _, goals in cases]
    return Part(jobs, rows, repeat=4)


def start(place: Place) -> Part:
    job = place.short("version", "start-up: pleat --version", "--version")
    return Part([job], [Row(job.title, job.key, goals=(Goal("seconds", 0.010),))], repeat=4)


def plan(place: Place) -> Part:
    output = place.out / "planned.pleat"
    how = ["quantize", place.sparse / "many", "--to", "pleat", "-n", "-o", output]
    job = place.short("plan", "plan 100,000 tensors in 200 shards", *how)
    goals = (Goal("seconds", 1), Goal("memory", 256 * MIB))
    return Part([job], [Row(job.title, job.key, goals=goals)])


def memory(place: Place, writes_large: bool) -> Part:
    """Jobs on sparse models. A compressed output of zeros is small, so every size can write one."""
    jobs: list[Job] = []
    for size, sizes in LLAMAS.items():
        model, billions = place.sparse / size, f"{size.removesuffix('b')} billion"
        adapter = model / "qa-lora"
        small, folded = f"{size}-small.pleat", f"{size}-folded.pleat"
        every = ["--rule", "*=4", "--scheme", "minmax", "--to", "pleat"]
        jobs += [
            place.pleat(
                small, f"{billions}, quantize --compress", "quantize", model, *every, "--compress",
                keeps=True,
            ),
            place.pleat(
                folded, f"{billions}, fold QA-LoRA --compress", "fold", place.out / small,
                "--adapter", adapter, "--compress",
            ),
        ]  # fmt: skip
        raw = place.pleat(f"{size}.pleat", f"{billions}, quantize", "quantize", model, *every)
        blocks = ["--type", "Q4_1", "--pure", "--scheme", "minmax", "--to", "gguf"]
        gguf = place.pleat(f"{size}.gguf", f"{billions}, to Q4_1 GGUF", "quantize", model, *blocks)
        for job in (raw, gguf):
            job.room = sizes.weights() * BITS // 8
            if job.room > 10 * GB and not writes_large:
                job.held_back = f"writes {job.room / GB:.0f} GB: --large"
        jobs += [raw, gguf]
    return Part(jobs, [Row(job.title, job.key, goals=(RESIDENT,)) for job in jobs], is_single=True)
