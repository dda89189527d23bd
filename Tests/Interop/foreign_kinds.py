"""What each tool stores in the place of a linear weight: true names, types and shapes."""

import math

import torch
from foreign import (
    BF16,
    E4M3,
    E5M2,
    E8M0,
    F16,
    F32,
    GROUP,
    I8,
    I16,
    I32,
    I64,
    U8,
    U32,
    beside,
    bnb4,
    gptq,
    hqq,
    numbers,
    words,
)

# What stands in the place of the weight [r, c] of each linear layer, by suffix of its path.
KINDS = {
    # GPTQ and its relatives
    "gptq v1": lambda r, c: gptq(r, c, "gptq"),
    "gptq v2": lambda r, c: gptq(r, c, "gptq_v2"),
    "gptq 3 bits": lambda r, c: gptq(r, c, "gptq", 3),
    "gptq 8 bits": lambda r, c: gptq(r, c, "gptq", 8),
    "gptq marlin": lambda r, c: {
        ".B": words(I32, c // 16, r * 2),
        ".s": words(F16, c // GROUP, r),
        ".workspace": words(I32, r // 8),
    },
    "gptq bitblas": lambda r, c: {
        ".qweight": words(I8, r, c // 2),
        ".scales": words(F16, r, c // GROUP),
        ".qzeros": words(I8, c // GROUP, r // 2),
    },
    "qqq": lambda r, c: {
        ".B": words(I32, c // 16, r * 2),
        ".s_channel": numbers(F32, 1, r),
        ".s_group": words(F16, c // GROUP, r),
    },
    "paroquant": lambda r, c: {
        ".qweight": words(I32, c, r // 8),
        ".qzeros": words(I32, c // GROUP, r // 8),
        ".scales": words(F16, c // GROUP, r),
        ".theta": words(F16, 8, c // 2),
        ".pairs": words(I16, 8, c),
        ".channel_scales": words(F16, 1, c),
    },
    "gptqmodel gguf": lambda r, c: {".qweight": words(U8, r, c * 9 // 16)},
    "squeezellm": lambda r, c: {
        ".qweight": words(I32, c // 8, r),
        ".lookup_table": words(F16, r, 16),
    },
    "any-precision": lambda r, c: {
        ".qweight": words(I32, 4, r, c // 32),
        ".lut4": words(F16, r, 16),
    },
    "svdquant": lambda r, c: {
        ".qweight": words(I8, r, c // 2),
        ".wscales": words(BF16, c // 64, r),
        ".proj_down": words(BF16, c, 16),
        ".proj_up": words(BF16, r, 16),
        ".smooth_factor": words(BF16, c),
    },
    # AWQ
    "awq gemm": lambda r, c: {
        ".qweight": words(I32, c, r // 8),
        ".qzeros": words(I32, c // GROUP, r // 8),
        ".scales": words(F16, c // GROUP, r),
    },
    "awq gemv": lambda r, c: {
        ".qweight": words(I32, r, c // 8),
        ".qzeros": words(I32, r, math.ceil(c / GROUP / 8)),
        ".scales": words(F16, r, math.ceil(c / GROUP / 8) * 8),
    },
    "awq gemv_fast": lambda r, c: {
        ".qweight": words(I16, r // 4, c),
        ".qzeros": words(F16, math.ceil(c / GROUP / 8) * 8, r),
        ".scales": words(F16, math.ceil(c / GROUP / 8) * 8, r),
    },
    "llm-awq": lambda r, c: {
        ".qweight": words(I16, r // 4, c),
        ".scaled_zeros": words(F16, math.ceil(c / GROUP / 8) * 8, r),
        ".scales": words(F16, math.ceil(c / GROUP / 8) * 8, r),
    },
    "awq marlin": lambda r, c: {
        ".qweight": words(I32, c // 16, r * 2),
        ".qzeros": words(I32, c // GROUP, r // 8),
        ".scales": words(F16, c // GROUP, r),
    },
    # compressed-tensors
    "ct pack-quantized": lambda r, c: {
        ".weight_packed": words(I32, r, c // 8),
        ".weight_scale": words(BF16, r, c // GROUP),
        ".weight_shape": torch.tensor([r, c]),
    },
    "ct pack-quantized, zero points": lambda r, c: {
        ".weight_packed": words(I32, r, c // 8),
        ".weight_scale": words(BF16, r, c // GROUP),
        ".weight_zero_point": words(I32, r // 8, c // GROUP),
        ".weight_shape": torch.tensor([r, c]),
    },
    "ct int-quantized": beside(I8, ".weight_scale", BF16, 1, 0),
    "ct float-quantized": beside(E4M3, ".weight_scale", BF16, 1, 0),
    "ct float-quantized, blocks": beside(E4M3, ".weight_scale", BF16, 128, 128),
    "ct naive-quantized": beside(I8, ".weight_scale", BF16, 1, GROUP),
    "ct nvfp4-pack-quantized": lambda r, c: {
        ".weight_packed": words(U8, r, c // 2),
        ".weight_scale": words(E4M3, r, c // 16),
        ".weight_global_scale": numbers(F32, 1),
    },
    "ct mxfp4-pack-quantized": lambda r, c: {
        ".weight_packed": words(U8, r, c // 2),
        ".weight_scale": words(U8, r, c // 32),
    },
    "ct mxfp6-pack-quantized": lambda r, c: {
        ".weight_packed": words(U8, r, c * 3 // 4),
        ".weight_scale": words(U8, r, c // 32),
    },
    "ct mxfp8-quantized": lambda r, c: {
        ".weight": words(E4M3, r, c),
        ".weight_scale": words(U8, r, c // 32),
    },
    "ct marlin-24": lambda r, c: {
        ".weight_packed": words(I32, c // 32, r * 2),
        ".scale_packed": words(F16, c // GROUP, r),
        ".meta": words(I16, r, c // 16),
    },
    "ct sparse-bitmask": lambda r, c: {
        ".weight.compressed": words(BF16, r * c // 2),
        ".weight.bitmask": words(U8, r, c // 8),
        ".weight.row_offsets": torch.arange(r) * (c // 2),
        ".weight.shape": torch.tensor([r, c]),
    },
    "ct sparse-24-bitmask": lambda r, c: {
        ".weight.compressed": words(BF16, r, c // 2),
        ".weight.bitmask": words(U8, r, c // 8),
        ".weight.shape": torch.tensor([r, c]),
    },
    "ct sparse-24-bitmask, fp8": lambda r, c: {
        ".weight.compressed": words(E4M3, r, c // 2),
        ".weight.bitmask": words(U8, r, c // 8),
        ".weight.shape": torch.tensor([r, c]),
        ".weight_scale": numbers(BF16, r, 1),
    },
    # Floats of 8 bits
    "fp8 deepseek": beside(E4M3, ".weight_scale_inv", F32, 128, 128),
    "fp8 deepseek, ue8m0": beside(E4M3, ".scale", E8M0, 128, 128),
    "fp4 deepseek": lambda r, c: {
        ".weight": words(I8, r, c // 2),
        ".scale": words(E8M0, r, c // 32),
    },
    "fp8 modelopt": lambda r, c: {
        ".weight": words(E4M3, r, c),
        ".weight_scale": numbers(F32),
        ".input_scale": numbers(F32),
    },
    "nvfp4 modelopt": lambda r, c: {
        ".weight": words(U8, r, c // 2),
        ".weight_scale": words(E4M3, r, c // 16),
        ".weight_scale_2": numbers(F32),
        ".input_scale": numbers(F32),
    },
    "fp8 fbgemm": beside(E4M3, ".weight_scale", F32, 1, 0),
    "fp8 mistral": lambda r, c: {
        ".weight": words(E4M3, r, c),
        ".qscale_weight": numbers(F32),
        ".qscale_act": numbers(F32),
    },
    "fp8 comfyui": lambda r, c: {".weight": words(E4M3, r, c), ".scale_weight": numbers(F32)},
    "fp8 tensorrt-llm": lambda r, c: {
        ".weight": words(E4M3, r, c),
        ".weights_scaling_factor": numbers(F32, 1),
        ".activation_scaling_factor": numbers(F32, 1),
    },
    "fp8 e4m3, bare": lambda r, c: {".weight": words(E4M3, r, c)},
    "fp8 e5m2, bare": lambda r, c: {".weight": words(E5M2, r, c)},
    "fp8 e4m3fnuz, bare": lambda r, c: {".weight": words(torch.float8_e4m3fnuz, r, c)},
    # Integers of 8 bits
    "int8 eetq": lambda r, c: {".weight": words(I8, c, r), ".weight_scales": words(F16, r)},
    "int8 lmdeploy": beside(I8, ".scale", F32, 1, 0),
    "int8 tensorrt-llm": lambda r, c: {
        ".weight": words(I8, r, c),
        ".per_channel_scale": words(F16, r),
    },
    "int8 smoothquant": lambda r, c: {
        ".weight": words(I8, r, c),
        ".bias": words(I8, 1, r),
        ".a": numbers(F32),
        ".b": numbers(F32),
    },
    "int8, bare": lambda r, c: {".weight": words(I8, r, c)},
    "int4 quark": lambda r, c: {
        ".weight": words(I32, c, r // 8),
        ".weight_scale": words(F16, c // GROUP, r),
        ".weight_zero_point": words(I32, c // GROUP, r // 8),
    },
    "gemma 4 bits": lambda r, c: {
        ".weight": words(U8, r, c // 2),
        ".weight_scale": numbers(F32, r, 1),
        ".input_activation_scale": numbers(F32),
        ".output_activation_scale": numbers(F32),
    },
    # bitsandbytes
    "bitsandbytes nf4": lambda r, c: bnb4(U8, r, c),
    "bitsandbytes nf4, nested": lambda r, c: bnb4(U8, r, c, nested=True),
    "bitsandbytes nf4 in bf16": lambda r, c: bnb4(BF16, r, c, nested=True),
    "bitsandbytes fp4": lambda r, c: bnb4(U8, r, c, name="fp4"),
    "bitsandbytes int8": lambda r, c: {
        ".weight": words(I8, r, c),
        ".SCB": numbers(F32, r),
        ".weight_format": torch.tensor(0, dtype=U8),
    },
    # Other libraries of Python
    "hqq": lambda r, c: hqq(words(U8, r * c // GROUP // 2, GROUP), r, c),
    "hqq 3 bits": lambda r, c: hqq(words(I32, math.ceil(r * c // GROUP / 10), GROUP), r, c),
    "hqq in bf16": lambda r, c: hqq(words(BF16, r * c // GROUP // 2, GROUP // 2), r, c),
    "sinq": lambda r, c: {
        ".W_q": words(U8, r, c // 2),
        ".meta.scale": words(BF16, r, c // 64),
        ".meta.zero": words(BF16, r, c // 64),
        ".meta.scale2": words(BF16, 1, c),
    },
    "quanto int8": lambda r, c: {
        ".weight._data": words(I8, r, c),
        ".weight._scale": words(BF16, r, 1),
        ".input_scale": torch.tensor(1, dtype=BF16),
        ".output_scale": torch.tensor(1, dtype=BF16),
    },
    "quanto float8": lambda r, c: {
        ".weight._data": words(E4M3, r, c),
        ".weight._scale": words(BF16, r, 1),
    },
    "quanto int4": lambda r, c: {
        ".weight._data._data": words(U8, r // 2, c),
        ".weight._scale": words(BF16, r * c // 128, 1),
        ".weight._shift": words(BF16, r * c // 128, 1),
        ".input_scale": torch.tensor(1, dtype=BF16),
        ".output_scale": torch.tensor(1, dtype=BF16),
    },
    "torchao float8": lambda r, c: {
        "._weight_qdata": words(E4M3, r, c),
        "._weight_scale": numbers(F32, r, 1),
    },
    "torchao int8": lambda r, c: {
        "._weight_qdata": words(I8, r, c),
        "._weight_scale": numbers(F32, r, 1),
        "._weight_zero_point": words(I8, r, 1),
    },
    "torchao int4": lambda r, c: {
        "._weight_qdata": words(I32, r // 8, c // 128, 32, 4),
        "._weight_scale_and_zero": words(BF16, c // GROUP, r, 2),
    },
    "fouroversix": lambda r, c: {
        ".quantized_weight_values": words(U8, r, c // 2),
        ".quantized_weight_scale_factors": words(E4M3, r * c // 16),
        ".quantized_weight_amax": numbers(F32, 1),
        ".quantized_weight_metadata": words(I32, 4),
    },
    "fp-quant": lambda r, c: {
        ".qweight": words(U8, r, c // 2),
        ".scales": words(U8, r, c // 32),
        ".weight_global_scale": numbers(F32, 1),
        ".act_global_scale": numbers(F32, 1),
        ".forward_hadamard_matrix": words(BF16, 32, 32),
        ".backward_hadamard_matrix": words(BF16, 32, 32),
    },
    "fp-quant, pseudo": lambda r, c: {
        ".dqweight": words(BF16, r, c),
        ".forward_hadamard_matrix": words(BF16, 32, 32),
        ".backward_hadamard_matrix": words(BF16, 32, 32),
    },
    "bitnet": lambda r, c: {".weight": words(U8, r // 4, c), ".weight_scale": numbers(BF16, 1)},
    # Codebooks and lattices
    "aqlm 1x16": lambda r, c: {
        ".codes": words(I16, r, c // 8, 1),
        ".codebooks": words(F16, 1, 4096, 1, 8),
        ".scales": words(F16, r, 1, 1, 1),
    },
    "aqlm 2x8": lambda r, c: {
        ".codes": words(I8, r, c // 8, 2),
        ".codebooks": words(F16, 2, 256, 1, 8),
        ".scales": words(F16, r, 1, 1, 1),
    },
    "quip#": lambda r, c: {
        ".Qidxs": words(I64, r, c // 32),
        ".SU": words(F16, c),
        ".SV": words(F16, r),
        ".Wscale": numbers(F32),
        ".codebook_id": torch.tensor(7),
    },
    "qtip": lambda r, c: {
        ".trellis": words(I16, r * c // 256, 32),
        ".SU": words(F16, c),
        ".SV": words(F32, r),
        ".tlut": words(F16, 512, 2),
    },
    "vptq": lambda r, c: {
        ".indices": words(I32, 1, r // 8, c * 3 // 8),
        ".centroids.weight": words(F16, 1, 2048),
        ".res_centroids.weight": words(F16, 1, 128),
        ".perm": words(I16, c),
        ".weight_scale": words(F16, c),
        ".weight_bias": words(F16, c),
    },
    "vptq in f16": lambda r, c: {
        ".indices": words(F16, 1, r // 8, c),
        ".centroids.weight": words(F16, 1, 2048),
    },
    "spqr": lambda r, c: {
        ".dense_weights": words(I64, r * c // 16),
        ".row_offsets": words(I32, r + 1),
        ".col_vals": words(I32, 64),
        ".in_perm": words(I16, c),
    },
    "higgs": lambda r, c: {
        ".weight": words(I16, r // 4, c),
        ".scales": words(F16, r, c // 64),
        ".tables": words(F16, 16),
        ".tables2": words(F16, 16, 16, 2),
    },
    "exl2": lambda r, c: {
        ".q_weight": words(I32, c // 8, r),
        ".q_invperm": words(I32, c),
        ".q_scale": words(I32, c // GROUP, r // 8),
        ".q_scale_max": words(F16, c // GROUP),
        ".q_groups": words(I16, c // GROUP * 2),
    },
    "exl3": lambda r, c: {
        ".trellis": words(I16, c // 16, r // 16, 64),
        ".suh": words(F16, c),
        ".svh": words(F16, r),
        ".mcg": torch.tensor(3, dtype=I32),
    },
    # MLX
    "mlx": lambda r, c: {
        ".weight": words(U32, r, c // 8),
        ".scales": words(BF16, r, c // GROUP),
        ".biases": words(BF16, r, c // GROUP),
    },
    "mlx mxfp4": lambda r, c: {
        ".weight": words(U32, r, c // 8),
        ".scales": words(U8, r, c // 32),
    },
    "mlx mxfp8": lambda r, c: {
        ".weight": words(U32, r, c // 4),
        ".scales": words(U8, r, c // 32),
    },
    "mlx nvfp4": lambda r, c: {
        ".weight": words(U32, r, c // 8),
        ".scales": words(U8, r, c // 16),
    },
    "transformers metal": lambda r, c: {
        ".weight": words(U32, r, c // 8),
        ".scales": words(F32, r, c // GROUP),
        ".qbiases": words(F32, r, c // GROUP),
    },
}
