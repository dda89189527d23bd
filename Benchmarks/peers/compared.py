"""The parts of the table in which pleat is compared with peers."""

from dataclasses import replace
from pathlib import Path

from jobs import Job, SizeOf, Step
from rows import Goal, Part, Place, Row

PEFT_MERGE = Path(__file__).with_name("peft_merge.py")
GPTQ = Path(__file__).with_name("gptq.py")
MIXES = ("Q4_K_M", "Q5_K_M", "Q2_K", "Q3_K_M", "Q6_K", "IQ4_XS")


def quantize(place: Place) -> Part:
    jobs, rows = [], []
    for type, schemes in (("Q4_1", ("minmax", "ggml")), ("Q4_0", ("symmetric", "ggml"))):
        yardstick, peer = f"copy-{type}", place.llama_quantize(f"llama-{type}", type, "--pure")
        for scheme in schemes:
            key, title = f"{type}-{scheme}.gguf", f"F16 GGUF → {type}, {scheme}"
            how = ["--type", type, "--scheme", scheme, "--pure"]
            jobs.append(place.pleat(key, title, "quantize", place.gguf, "--to", "gguf", *how))
            rows.append(Row(title, key, yardstick, (Goal("ratio", 0.8),)))
            rows.append(Row(title, key, peer.key, (Goal("times", 6),)))
        copy = place.reads_and_writes(yardstick, [place.gguf], f"{type}-{schemes[0]}.gguf")
        synced = place.synced(copy)
        rows.append(Row(jobs[-2].title, jobs[-2].key, synced.key))
        jobs += [copy, synced, peer]
    return Part(jobs, sorted(rows, key=lambda row: row.peer.startswith("llama")))


def in_memory(place: Place) -> Part:
    """Outputs in memory: the disk hides no work here."""
    kept = replace(place, out=place.tools.memory)
    title, how = "F16 GGUF → Q4_1, output in memory", ["--type", "Q4_1", "--pure"]
    ours = kept.pleat(
        "memory.gguf", title, "quantize", place.gguf, "--to", "gguf", *how, "--scheme", "minmax"
    )
    peer = kept.llama_quantize("llama-memory", "Q4_1", "--pure")
    jobs = [replace(job, needs=[*job.needs, "memory"]) for job in (ours, peer)]
    return Part(jobs, [Row(title, ours.key, peer.key, (Goal("work", 5),))])


def mixes(place: Place) -> Part:
    """The mixes of llama.cpp, with its bytes, with and without an importance matrix."""
    jobs, rows = [], []
    for matrix, words in ((None, ""), (place.importance, ", with importance")):
        weighted = "weighted-" if matrix else ""
        for mix in MIXES:
            key, title = f"{weighted}{mix}.gguf", f"F16 GGUF → {mix}{words}"
            how = ["--type", mix, "--scheme", "ggml"] + (["--imatrix", matrix] if matrix else [])
            jobs.append(place.pleat(key, title, "quantize", place.gguf, "--to", "gguf", *how))
            more = ["--imatrix", matrix] if matrix else []
            peer = place.llama_quantize(f"llama-{weighted}{mix}", mix, *more)
            jobs.append(replace(peer, is_slow=True, is_cold_started=True))
            rows.append(Row(title, key, peer.key, (Goal("times", 8),)))
    return Part(jobs, rows)


def gguf(place: Place) -> Part:
    jobs, rows, tools, model = [], [], place.tools, place.huggingface
    half = place.out / "converted.gguf"
    convert = [tools.python, tools.convert, model, "--outtype", "f16", "--outfile", half]
    for type, how, scheme, limit in (
        ("Q4_1", ["--pure"], "minmax", 15), ("Q4_K_M", [], "ggml", 8)
    ):  # fmt: skip
        title, key = f"Hugging Face → {type} GGUF, one pass", f"hf-{type}.gguf"
        options = ["--to", "gguf", "--type", type, *how, "--scheme", scheme]
        target = place.out / f"llama-hf-{type}.gguf"
        peer = Job(
            f"convert-llama-{type}",
            "convert_hf_to_gguf, llama-quantize",
            [Step(convert), Step([tools.llama_quantize, *how, half, target, type, tools.threads])],
            [half, target],
            needs=["convert", "llama-quantize"],
            is_slow=True,
        )
        jobs += [place.pleat(key, title, "quantize", model, *options), peer]
        rows.append(Row(title, key, peer.key, (Goal("times", limit),)))
    return Part(jobs, rows)


def mlx(place: Place) -> Part:
    """Two schemes for the same groups beside `mlx_lm convert`."""
    jobs, rows, model = [], [], place.huggingface
    for group, schemes in ((64, ("minmax", "search")), (32, ("search",)), (128, ("search",))):
        target = place.out / f"mlx-lm-{group}"
        bits = ["-q", "--q-bits", 4, "--q-group-size", group]
        convert = ["-m", "mlx_lm", "convert", "--hf-path", model, "--mlx-path", target, *bits]
        steps = [Step([place.tools.python, *convert])]
        peer = Job(
            f"mlx_lm-{group}", "mlx_lm convert -q", steps, [target],
            needs=["mlx_lm"], is_slow=True,
        )  # fmt: skip
        for scheme in schemes:
            title = f"Hugging Face → MLX 4-bit, groups of {group}, {scheme}"
            how = ["--to", "mlx", "-b", 4, "-g", group, "--scheme", scheme]
            ours = place.pleat(f"mlx-{group}-{scheme}", title, "quantize", model, *how)
            goals = (Goal("times", 12),) if scheme == "minmax" else (Goal("times", 3), place.searched)
            jobs.append(ours)
            rows.append(Row(title, ours.key, peer.key, goals))
        jobs.append(peer)
    return Part(jobs, rows)


def search(place: Place) -> Part:
    """The search beside the plain rounding of pleat, and beside that of gptqmodel."""
    jobs, rows, model = [], [], place.huggingface
    for format, plain in (("pleat", "minmax"), ("gptq", "zeropoint")):
        for group in (32, 128):
            how = ["--to", format, "-b", 4, "-g", group, "--rule", "*=4"]
            keys = {}
            for scheme in ("search", plain):
                key = f"{scheme}-{group}" + (".pleat" if format == "pleat" else "-gptq")
                title = f"Hugging Face → {format} 4-bit, groups of {group}, {scheme}"
                job = place.pleat(key, title, "quantize", model, *how, "--scheme", scheme)
                jobs.append(job)
                keys[scheme] = job
            ours = keys["search"]
            rows.append(Row(ours.title, ours.key, keys[plain].key, (place.searched,)))
    target = place.out / "gptqmodel"
    script = [place.tools.python, "-P", GPTQ, model, target, 4, 128, place.tools.threads]
    steps = [Step(script, place.out / "gptqmodel.json")]
    peer = Job(
        "gptqmodel", "gptqmodel, RTN", steps, [target], needs=["gptqmodel"], is_slow=True,
        is_cold_started=True, counts_itself=True,
    )  # fmt: skip
    title = ours.title
    rows.append(Row(title, ours.key, peer.key, (Goal("times", 3),), without_imports=True))
    return Part([*jobs, peer], rows)


def pleat(place: Place) -> Part:
    jobs, rows = [], []
    for options, name, limit in (([], "raw", 0.8), (["--compress"], "--compress", 2.5)):
        title, key = f"Hugging Face → INT4 pleat file, {name}", f"{name.strip('-')}.pleat"
        how = ["--to", "pleat", "--rule", "*=4", "--scheme", "minmax", *options]
        copy = place.reads_and_writes(f"copy-{key}", place.shards, key)
        jobs += [place.pleat(key, title, "quantize", place.huggingface, *how), copy]
        rows.append(Row(title, key, copy.key, (Goal("ratio", limit),)))
    return Part(jobs, rows)


def lora(place: Place) -> Part:
    title, model, adapter = "fold a LoRA into F16", place.huggingface, place.model / "lora"
    ours = place.pleat("merged", title, "fold", model, "--adapter", adapter)
    target = place.out / "peft"
    script = [place.tools.python, "-P", PEFT_MERGE, model, adapter, target, place.tools.threads]
    steps = [Step(script, place.out / "peft.json")]
    peer = Job(
        "peft", "PEFT load, merge, save", steps, [target],
        needs=["peft"], is_slow=True, counts_itself=True,
    )  # fmt: skip
    goal = (Goal("times", 5),)
    rows = [
        Row(title, ours.key, peer.key, goal),
        Row(title, ours.key, peer.key, without_imports=True),
    ]
    return Part([ours, peer], rows)


def qalora(place: Place) -> Part:
    title, packed = "fold a QA-LoRA into the INT4 file", place.packed()
    base, adapter, copied = packed.results[0], place.model / "qa-lora", place.out / "copied.pleat"
    ours = place.pleat("folded.pleat", title, "fold", base, "--adapter", adapter)
    copy = Job("cp", "cp", [Step(["cp", base, copied])], [copied])
    return beside(place, ours, copy, packed)


def convert(place: Place) -> Part:
    title, packed, written = "INT4 file → F16 safetensors", place.packed(), place.out / "head.bin"
    ours = place.pleat("decoded", title, "convert", packed.results[0], "--to", "safetensors")
    head = ["head", "-c", SizeOf(ours.key), place.gguf]
    copy = Job("head", "head -c outsize", [Step(head, written)], [written])
    return beside(place, ours, copy, packed)


def beside(place: Place, ours: Job, copy: Job, packed: Job) -> Part:
    """Compares a job with a copy, and with a copy that is synchronized to the disk."""
    synced = place.synced(copy)
    goal = (Goal("ratio", 1.2),)
    rows = [Row(ours.title, ours.key, copy.key), Row(ours.title, ours.key, synced.key, goal)]
    return Part([ours, copy, synced], rows, prepare=[packed])


def cold(place: Place) -> Part:
    title, key = "F16 GGUF → Q4_1, cold cache", "cold.gguf"
    how = ["--type", "Q4_1", "--pure", "--scheme", "minmax"]
    ours = place.pleat(key, title, "quantize", place.gguf, "--to", "gguf", *how)
    peer = Job("cat-cold", "cat in > /dev/null, cold", [Step(["cat", place.gguf])])
    for job in (ours, peer):
        job.cold = place.gguf
    return Part([ours, peer], [Row(title, key, peer.key, (Goal("ratio", 1.3),))])
