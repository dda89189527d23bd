"""The parts of the table in which pleat is compared with peers."""

from pathlib import Path

from jobs import Job, SizeOf, Step
from rows import Goal, Part, Place, Row

PEFT_MERGE = Path(__file__).with_name("peft_merge.py")


def quantize(place: Place) -> Part:
    jobs, rows = [], []
    llama, threads = place.tools.llama_quantize, place.tools.threads
    for type, schemes in (("Q4_1", ("minmax", "ggml")), ("Q4_0", ("symmetric", "ggml"))):
        yardstick, peer = f"copy-{type}", f"llama-{type}"
        target = place.out / f"{peer}.gguf"
        for scheme in schemes:
            key, title = f"{type}-{scheme}.gguf", f"F16 GGUF → {type}, {scheme}"
            how = ["--type", type, "--scheme", scheme, "--pure"]
            jobs.append(place.pleat(key, title, "quantize", place.gguf, "--to", "gguf", *how))
            rows.append(Row(title, key, yardstick, (Goal("ratio", 0.8),)))
            rows.append(Row(title, key, peer, (Goal("times", 6),)))
        copy = place.reads_and_writes(yardstick, [place.gguf], f"{type}-{schemes[0]}.gguf")
        synced = place.synced(copy)
        rows.append(Row(jobs[-2].title, jobs[-2].key, synced.key))
        jobs += [copy, synced]
        command = [llama, "--pure", place.gguf, target, type, threads]
        title = "llama-quantize --pure"
        jobs.append(Job(peer, title, [Step(command)], [target], needs=["llama-quantize"]))
    return Part(jobs, sorted(rows, key=lambda row: row.peer.startswith("llama")))


def gguf(place: Place) -> Part:
    title, type = "Hugging Face → Q4_1 GGUF, one pass", "Q4_1"
    key, model = "hf.gguf", place.huggingface
    how = ["--to", "gguf", "--type", type, "--pure"]
    half, target = place.out / "converted.gguf", place.out / "llama-hf.gguf"
    tools = place.tools
    convert = [tools.python, tools.convert, model, "--outtype", "f16", "--outfile", half]
    peer = Job(
        "convert-llama",
        "convert_hf_to_gguf, llama-quantize",
        [Step(convert), Step([tools.llama_quantize, "--pure", half, target, type, tools.threads])],
        [half, target],
        needs=["convert", "llama-quantize"],
        is_slow=True,
    )
    row = Row(title, key, peer.key, (Goal("times", 15),))
    return Part([place.pleat(key, title, "quantize", model, *how), peer], [row])


def mlx(place: Place) -> Part:
    title, model = "Hugging Face → MLX 4-bit, groups of 64", place.huggingface
    target = place.out / "mlx-lm"
    bits = ["-q", "--q-bits", 4, "--q-group-size", 64]
    convert = ["-m", "mlx_lm", "convert", "--hf-path", model, "--mlx-path", target, *bits]
    steps = [Step([place.tools.python, *convert])]
    peer = Job("mlx_lm", "mlx_lm convert -q", steps, [target], needs=["mlx_lm"], is_slow=True)
    ours = place.pleat("mlx", title, "quantize", model, "--to", "mlx", "-b", 4, "-g", 64)
    return Part([ours, peer], [Row(title, ours.key, peer.key, (Goal("times", 12),))])


def pleat(place: Place) -> Part:
    jobs, rows = [], []
    for options, name, limit in (([], "raw", 0.8), (["--compress"], "--compress", 2.5)):
        title, key = f"Hugging Face → INT4 pleat file, {name}", f"{name.strip('-')}.pleat"
        how = ["--to", "pleat", "--rule", "*=4", *options]
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
    rows = [Row(ours.title, ours.key, copy.key, goal), Row(ours.title, ours.key, synced.key)]
    return Part([ours, copy, synced], rows, prepare=[packed])


def cold(place: Place) -> Part:
    title, key, how = "F16 GGUF → Q4_1, cold cache", "cold.gguf", ["--rule", "*=Q4_1"]
    ours = place.pleat(
        key, title, "quantize", place.gguf, "--to", "gguf", "--type", "Q4_1", *how
    )
    peer = Job("cat-cold", "cat in > /dev/null, cold", [Step(["cat", place.gguf])])
    for job in (ours, peer):
        job.cold = place.gguf
    return Part([ours, peer], [Row(title, key, peer.key, (Goal("ratio", 1.3),))])
