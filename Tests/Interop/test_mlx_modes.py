"""The modes mxfp4, nvfp4 and mxfp8 have the codes, scales and config of MLX on a CPU, bit for bit."""

import json

import mlx_models
import numpy as np
import pytest
import safetensors.torch
import torch
from mlx_models import mx
from pleat import PleatFile

SEED = 20261129
MODES = {"mxfp4": (32, 4), "nvfp4": (16, 4), "mxfp8": (32, 8)}
# For each type: its names in torch and MLX, the largest exponent of a number, and the smallest one
# whose scale MLX can store.
TYPES = {
    "F32": (torch.float32, mx.float32, 126, -115),
    "F16": (torch.float16, mx.float16, 15, -24),
    "BF16": (torch.bfloat16, mx.bfloat16, 126, -115),
}
LARGEST_NVFP4 = 2688


def kinds(type: str) -> dict[str, np.ndarray]:
    """Weights for every case of the arithmetic, as float32: 256 rows of 256 columns."""
    random = np.random.default_rng(SEED)
    _, _, most, least = TYPES[type]
    shape = (256, 256)
    normal = random.standard_normal(shape)
    groups = random.uniform(least, min(most, 120) - 4, (256, 16))
    # The largest number of a group is near a power of two times that of a code.
    edges = normal / 8
    powers = 2.0 ** random.integers(-6, 2, (256, 8))
    tops = random.choice([1.0, 6.0, 448.0], (256, 8)) * powers
    steps = random.integers(-8, 9, (256, 8)) * {"F32": 2.0**-23, "F16": 2.0**-10}.get(type, 2.0**-7)
    edges[:, 3::32] = tops * (1 + steps)
    edges *= np.repeat(powers, 32, axis=1)
    return {
        "ordinary": 0.02 * normal,
        "zero": np.where(random.random(shape) < 0.5, 0.0, -0.0),
        "sparse": np.where(random.random(shape) < 0.03, normal, -0.0),
        "ties": random.integers(-48, 49, shape) / 8 * np.repeat(powers, 32, axis=1),
        "edges": edges,
        "spread": normal * np.repeat(2.0**groups, 16, axis=1),
        "magnitudes": np.sign(normal) * 2.0 ** random.uniform(least, most, shape),
        "small": 0.001 * normal,
    }


@pytest.mark.parametrize("type", TYPES)
def test_codes_and_scales_match_mlx(pleat, tmp_path, type):
    torch_type, mlx_type, _, _ = TYPES[type]
    for mode, (size, bits) in MODES.items():
        tensors = {}
        for name, values in kinds(type).items():
            if mode == "nvfp4":  # larger numbers are refused
                values = np.clip(values, -LARGEST_NVFP4, LARGEST_NVFP4)
            elif type != "F16":  # a larger code would be infinite
                values = np.clip(values, -(2.0**127), 2.0**127)
            tensors[f"{name}.weight"] = torch.from_numpy(values.astype(np.float32)).to(torch_type)
        source, out = tmp_path / "model.safetensors", tmp_path / f"{mode}.pleat"
        safetensors.torch.save_file(tensors, source)
        pleat.run("quantize", source, "--to", "pleat", "--mode", mode, "-o", out)
        file = PleatFile.open(out)
        for name, tensor in tensors.items():
            array = mx.array(tensor.to(torch.float32).numpy()).astype(mlx_type)
            words, scales = mx.quantize(array, size, bits, mode, stream=mx.cpu)
            parts = file.tensors[name]["parts"]
            for role, values in (("codes", words), ("scales", scales)):
                stored = np.frombuffer(file.bytes_of(parts[role]), np.array(values).dtype)
                differ = np.count_nonzero(stored != np.array(values).ravel())
                assert not differ, f"seed {SEED}: {mode} {name}, {differ} {role} differ"


def bytes_of(array: mx.array) -> tuple:
    words = array.view({1: mx.uint8, 2: mx.uint16, 4: mx.uint32}[array.dtype.size])
    return str(array.dtype), array.shape, np.array(words).tobytes()


def stated(folder) -> dict[str, dict]:
    """How each layer is quantized, according to config.json."""
    config = json.loads((folder / "config.json").read_text())
    common = config["quantization"]
    assert common == config["quantization_config"]
    names = [name for name in mlx_models.arrays(folder) if name.endswith(".scales")]
    paths = [name.removesuffix(".scales") for name in names]
    own = {key: value for key, value in common.items() if not isinstance(value, dict)}
    return {"common": own} | {path: common.get(path, own) for path in paths}


def predicate(path: str, _) -> bool | dict:
    if path.endswith("down_proj"):
        return {"group_size": 32, "bits": 8, "mode": "mxfp8"}
    if path.endswith("v_proj"):
        return {"group_size": 16, "bits": 4, "mode": "nvfp4"}
    return {"group_size": 64, "bits": 8, "mode": "affine"} if path == "lm_head" else True


RULES = ["*.down_proj=mxfp8", "*.v_proj=nvfp4", "lm_head=8:64:mlx"]


@pytest.mark.parametrize(("mode", "rules"), [*((mode, []) for mode in MODES), ("mxfp4", RULES)])
def test_folders_are_those_of_mlx_lm(pleat, tinylm, tmp_path, mode, rules):
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    wish = {"q_mode": mode, "quant_predicate": predicate if rules else None}
    mlx_models.mlx_lm.convert(str(tinylm), str(theirs), quantize=True, **wish)
    options = [option for rule in rules for option in ("--rule", rule)]
    pleat.run("quantize", tinylm, "--to", "mlx", "--mode", mode, *options, "-o", ours)
    expected, found = mlx_models.arrays(theirs), mlx_models.arrays(ours)
    assert expected.keys() == found.keys()
    for name, array in expected.items():
        assert bytes_of(found[name]) == bytes_of(array), name
    assert stated(ours) == stated(theirs)
    rows = torch.tensor([[1, 5, 17, 300]])
    logits = [mlx_models.load(folder)(rows).logits for folder in (ours, theirs)]
    assert torch.equal(*logits) and logits[0].isfinite().all()
    command = ["verify", ours, "--against", tinylm, "--tolerance", "0.2", "--json"]
    report = json.loads(pleat.run(*command))
    kinds = [tensor["encoding"]["type"] for tensor in report["tensors"]]
    assert report["holds"] and kinds.count("scaled") == len(stated(ours)) - 1 - bool(rules)
