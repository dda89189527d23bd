"""Models with states or convolutions instead of attention, in MLX."""

import architectures
import numpy as np
import pytest
from mlx_models import mlx_lm, mx
from recurrent_architectures import RECURRENT_CASES
from test_llama import rms

ROWS = architectures.tokens(64)
# Only the order of sums differs. Measured on logits of up to 22: at most 7e-5.
SUMS = 5e-4
# mlx-lm norms the states of all groups together.
REFUSED = {
    "granite-h-moe": "mamba_n_groups",
}


@pytest.mark.parametrize("case", RECURRENT_CASES, ids=str)
def test_mlx_computes_what_transformers_does(pleat, case, tmp_path):
    folder = architectures.make(case, tmp_path)
    out = tmp_path / "mlx"
    command = ["convert", folder, "--to", "mlx", "--dtype", "F32", "-o", out]
    if case.name in REFUSED:
        result = pleat.attempt(*command)
        assert result.returncode != 0
        assert REFUSED[case.name] in result.stderr
        return
    pleat.run(*command)
    model, _ = mlx_lm.utils.load_model(out)
    expected = architectures.logits(folder, ROWS)
    assert rms(expected) > 2
    found = np.array(model(mx.array(ROWS)).astype(mx.float32))
    assert np.abs(found - expected).max() < SUMS
