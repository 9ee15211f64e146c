"""Lines of the checklist as questions to both libraries: what a program gives, or how it fails, is the same.

`DIFFERENT` are those where rustorch is deliberately another: each is checked to be still so, in both.
"""

from __future__ import annotations

import pytest

from tests.differential.harness import Failed, Ours, Run, Theirs, difference

pytestmark = pytest.mark.oracle
# ruff: noqa: E501 - a question is a line

BEGIN = """
import copy, pickle
def leaf(*values, dtype=torch.float64):
    return torch.tensor(list(values), dtype=dtype, requires_grad=True)
x, c = leaf(1.0, 2.0, 3.0), torch.tensor([2.0, 0.0, -1.0], dtype=torch.float64)
def grads(y, *xs):
    return torch.autograd.grad(y.sum(), xs or (x,), allow_unused=True)
def twice(y):
    (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    return first, torch.autograd.grad((first * first).sum(), x, allow_unused=True)
"""

SAME = """
01 [x.is_leaf, x.grad_fn is None, x.grad is None, x.output_nr]
02 torch.tensor([1], requires_grad=True)
02 torch.zeros(2, dtype=torch.int64, requires_grad=True)
03 [(x + 1).requires_grad, (x > 1).requires_grad, x.argmax().requires_grad, x.floor().requires_grad, x.max(0)[1].requires_grad]
03 grads(x.round()), grads(x.sign()), grads(x.floor())
04 y = c * 3; c.requires_grad_(); z = c * 3; [y.requires_grad, z.requires_grad, grads(z, c)]
05 (x * 2).requires_grad_(False)
05 (x * 2).requires_grad_(True).requires_grad
06 x.numpy()
06 (x * 2).numpy()
07 [float(c[0]), int(c[0]), bool(c[0]), c[0].item(), c.tolist()]
07 float(c)
07 int(torch.zeros(0))
07 c.item()
07 bool(c)
07 bool(torch.zeros(0))
07 [1, 2][c[0]]
07 [10, 20, 30][torch.tensor(2)]
08 (x * 2).grad
09 x.grad = 3
09 x.grad = torch.zeros(2)
09 x.grad = torch.zeros(3, dtype=torch.float32)
09 x.grad = x
10 y = copy.deepcopy(x); [y is x, y]
10 copy.deepcopy(x * 2)
10 pickle.loads(pickle.dumps(x))
10 pickle.loads(pickle.dumps(x * 2))
12 (x * 2).backward()
13 c.sum().backward()
13 torch.autograd.backward([x.sum(), c.sum()])
14 (x * 2).backward(torch.ones(2, dtype=torch.float64))
14 torch.autograd.backward([x * 2, x * 3], [torch.ones(3)])
15 (x * x).sum().backward(); g = x.grad; (x * x).sum().backward(); [g is x.grad, g]
15 (x * x).sum().backward(); g = x.grad; (x * x).sum().backward(create_graph=True); [g is x.grad, x.grad]
16 y = (x * x).sum(); y.backward(); y.backward()
16 y = (x + 1).sum(); y.backward(); y.backward(); x.grad
16 y = x.exp(); y.sum().backward(); (y * 2).sum().backward()
17 y = (x * x).sum(); y.backward(retain_graph=True); y.backward(); x.grad
17 y = (x * x).sum(); y.backward(create_graph=True); y.backward(); x.grad
18 (x ** 3).sum().backward(create_graph=True); x.grad
19 w = leaf(2.0, 3.0, 4.0); (x * w).sum().backward(inputs=[x]); [x.grad, w.grad]
19 x.sum().backward(inputs=[])
20 torch.autograd.backward([x * 2, x * 3], [torch.ones_like(x), torch.full_like(x, 10.0)]); x.grad
21 g = torch.ones_like(x); (x + 0).backward(g); x.grad is g
22 grads(x * torch.ones(4, 3)), grads(x[[0, 0, 1]]), grads(x.expand(5, 3)), grads(torch.stack([x, x]))
23 w = leaf(1.0, 2.0, dtype=torch.float32); grads(w.double() * 3, w)
28 w = leaf(1.0); w.register_hook(lambda g: g * 2); [grads(w * 3, w), w.grad]
29 torch.autograd.grad(x.sum(), [x, leaf(1.0)])
29 torch.autograd.grad(x.sum(), [x, leaf(1.0)], allow_unused=True)
29 torch.autograd.grad(x.sum(), [x, leaf(1.0)], materialize_grads=True)
29 torch.autograd.grad(x.sum(), [x], materialize_grads=True, allow_unused=False)
30 torch.autograd.grad(x.sum(), [x, c], allow_unused=True)
30 torch.autograd.grad(x.sum(), [])
31 torch.autograd.grad([x.sum(), x * x], x, [None, c])
31 torch.autograd.grad([x.sum(), x * x], x)
32 torch.autograd.grad(x * x, x, torch.eye(3, dtype=torch.float64), is_grads_batched=True)
32 torch.autograd.grad(x * x, x, torch.ones(2, 2, dtype=torch.float64), is_grads_batched=True)
33 w = torch.tensor(2.0, requires_grad=True); a = w ** 3; b = torch.autograd.grad(a, w, create_graph=True)[0]; [b, torch.autograd.grad(b, w, create_graph=True)]
34 a = x * 3; a.register_hook(lambda g: g * 100); [grads(a * a * x, a), grads(a * a * x, x)]
35 torch.autograd.grad(x.sum(), {"a": x})
37 [(torch.is_grad_enabled(), (x * 2).requires_grad) for _ in [torch.set_grad_enabled(False)]] + [torch.set_grad_enabled(True) and None, torch.is_grad_enabled()]
40 exec("with torch.no_grad(): w = leaf(1.0); v = x * 2"); [w.requires_grad, w.is_leaf, v.requires_grad]
43 exec("with torch.no_grad(): x.add_(1)"); [x, x._version]
59 y = x * 3; y.retain_grad(); (y * y).sum().backward(); [y.retains_grad, y.grad, x.retains_grad]
59 c.retain_grad()
61 d = x.detach(); [d.requires_grad, d.is_leaf, d._base is None, d.grad_fn is None]
61 y = x * 1; d = y.detach(); d.add_(1); [y._version, d._version, y]
62 y = x * 1; d = y.data; d.add_(1); [y._version, d._version, y]
63 y = x.clone(); [y.grad_fn.name(), grads(y * y)]
63 y = x * 2; y.detach_(); [y.requires_grad, y.is_leaf]
64 x.add_(1)
64 x.zero_()
64 x[0].mul_(2)
64 x[0] = 1.0
64 x.view(3, 1).exp_()
64 v = c[0]; c.requires_grad_(); v.mul_(2)
66 y = x * 2; y.mul_(3); [y._version, grads(y)]
66 z = torch.zeros(3, dtype=torch.float64); z.add_(x); [z, grads(z)]
66 z = torch.zeros(4, dtype=torch.float64); z[1:] = x * 2; [z, grads(z)]
66 y = x * 1; y.zero_(); [y, grads(y)]
66 y = x * 1; y.fill_(3); [y, grads(y)]
66 y = x * 1; y.copy_(c); [y, grads(y)]
66 y = x * 3; exec("with torch.no_grad(): y.mul_(10)"); [y, grads(y)]
67 y = x * 2; v = y[0]; v.mul_(10); [v._base is y, y._version, v._version, y, grads(y)]
67 z = torch.zeros(4); v, w = z[1:3], z.view(2, 2)[0]; z.add_(1); v.mul_(2); w.sub_(1); [z, v, w, z._version, v._version, w._version, w._base is z]
67 exec("with torch.no_grad(): y = x * 1; v = (x * 2)[0]"); y = x * 2; exec("with torch.no_grad(): v = y[0]"); v.mul_(2)
68 y = x * 1; y[1] = x[0] * 5; [y, grads(y)]
68 y = x * 1; y[c > 0] = 4.0; [y, grads(y)]
68 y = x * 1; y[[0, 2]] = x[:2] * 7; [y, grads(y)]
69 o = torch.zeros(3, dtype=torch.float64); [torch.add(c, 1, out=o) is o, o]
69 torch.add(torch.ones(2), 1, out=torch.zeros(2, dtype=torch.int64))
69 y = x * 1; y.masked_fill_(c > 0, 9.0); [y, grads(y)]
69 y = x * 1; y.index_put_((torch.tensor([0, 0]),), c[:2], accumulate=True); [y, grads(y)]
69 y = x * 1; y.scatter_(0, torch.tensor([2, 0]), c[:2]); [y, grads(y)]
69 torch.ones(2).add_(torch.ones(3, 2))
69 torch.ones(2).add_(torch.ones(3))
69 torch.ones(2).copy_(torch.ones(3))
69 torch.ones(2).masked_fill_(torch.ones(2), 1.0)
69 torch.tensor([1]).add_(0.5)
69 torch.ones(2)[5]
69 torch.ones(2).__setitem__(slice(None), torch.ones(3))
91 z = leaf(-1.0, 0.0, 2.0); [grads(f(z), z) for f in (torch.abs, torch.relu, F.relu6, F.leaky_relu, F.elu, F.hardtanh, F.hardswish)]
91 z = leaf(2.0, 1.0, 2.0); [grads(z.max(), z), grads(z.amax(0), z), grads(z.max(0)[0], z), grads(torch.maximum(z, z.flip(0)), z)]
92 z = leaf(-1.0, 0.0, 0.5, 1.0, 2.0); lo, hi = leaf(0.0), leaf(1.0); [grads(z.clamp(0, 1), z), grads(z.clamp(lo, hi), z, lo, hi), grads(z.clamp(1, 0), z)]
93 z = leaf(0.0); [grads(z ** p, z) for p in (0, 1, 2, 3, 0.5, -1)] + [grads(0.0 ** z, z), grads(z ** z, z)]
93 z = leaf(0.0, 2.0, 3.0); w = leaf(0.0, 0.0, 3.0); [grads(z.prod(), z), grads(w.prod(), w)]
94 z = leaf(0.0, 0.0); [grads(z.norm(p), z) for p in (1, 2, 3, float("inf"))] + [grads(z.std(), z)]
96 z = leaf(0.0, 1.0); w = leaf(0.0, 0.0); [z / w, grads(z / w, z, w)]
99 twice(x ** 3), twice(x.exp() * x), twice((x * x).sum() ** 2), twice(x.prod()), twice(x.tanh()), twice(x.softmax(0) * c), twice(x.log() / x)
"""

DIFFERENT = {
    "a = x * 3; a.register_hook(lambda g: g * 100); grads(a * a * x, a, x)": "a hook is applied whatever else is asked for",
    "str(x.dtype)": "an element type is called as graphs call it",
    "y = x.exp(); y.mul_(2); grads(y)": "what was recorded does not change",
    "w = c * 1; y = x * w; w.add_(1); grads(y)": "what was recorded does not change",
    "y = x * 1; a, b, d = y.unbind(0); a.mul_(2); grads(y)": "each of several views may be written",
    "y = x * 1; y[:2].add_(y[1:]); grads(y)": "what is read is read before it is written",
    "y = x * 1; z = y * y; y.data.zero_(); grads(z)": "what was recorded does not change, silently or not",
    "z = leaf(0.0, 4.0); grads(torch.where(z > 0, z.sqrt(), torch.zeros_like(z)), z)": "a branch that is not taken has no gradient",
    "z = leaf(0.0, 0.0); grads((z * z).sum().sqrt(), z)": "the rule sqrt-sum-squares",
}


def question(line: str) -> tuple[object, object]:
    """What a line gives in both libraries, asked afresh."""
    found = []
    for library in (Ours, Theirs):
        run = Run(library)
        assert run.line(BEGIN) is None
        found.append(run.line("; ".join(line.split("; ")).replace("; exec", "\nexec")))
    return found[0], found[1]


@pytest.mark.parametrize("line", SAME.strip().split("\n"))
def test_same(line: str) -> None:
    ours, theirs = question(line.partition(" ")[2])
    assert difference(ours, theirs) == ""


@pytest.mark.parametrize("line", DIFFERENT)
def test_different_on_purpose(line: str) -> None:
    ours, theirs = question(line)
    assert not isinstance(ours, Failed), ours
    assert difference(ours, theirs) != ""
