"""A compiled value and gradient for scipy's optimisers: logistic regression, fitted by L-BFGS.

pip install scipy
python minimize_with_scipy.py
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

import rustorch
from rustorch import functional

draw = np.random.default_rng(0)
TRUTH = draw.standard_normal(10)
X = draw.standard_normal((500, 10))
Y = (X @ TRUTH + 0.5 * draw.standard_normal(500) > 0).astype(np.float64)


def loss(w: rustorch.Tensor) -> rustorch.Tensor:
    """Mean logistic loss of weights `w: f64[10]`, with a little decay."""
    scores = rustorch.tensor(X) @ w
    return functional.binary_cross_entropy_with_logits(scores, rustorch.tensor(Y)) + 1e-3 * (w * w).sum()


value_and_grad = rustorch.jit(rustorch.value_and_grad(loss))


def for_scipy(w: np.ndarray) -> tuple[float, np.ndarray]:
    """What `minimize(jac=True)` calls: numbers in, numbers out, one native call between."""
    value, gradient = value_and_grad(w)
    return float(value), gradient.numpy()


found = minimize(for_scipy, np.zeros(10), jac=True, method="L-BFGS-B")
cosine = found.x @ TRUTH / np.linalg.norm(found.x) / np.linalg.norm(TRUTH)
print(f"{found.message}: loss {found.fun:.6f} after {found.nfev} evaluations, cosine with the true weights {cosine:.4f}")
assert found.success
assert cosine > 0.98
