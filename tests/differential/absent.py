"""PyTorch's documented names that are not here, each with its reason: `python -m tests.differential.absent > rustorch/ops/absent.md`.

Documented is what has a docstring. `rustorch.ops.document` ends the page `docs/ops.md` with what this prints.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import torch

import rustorch

PLACES = (
    "", "Tensor", "special", "linalg", "fft", "nn.functional", "nn", "optim", "optim.lr_scheduler", "nn.utils", "nn.init", "autograd",
    "func",
)  # fmt: skip

REASONS: tuple[tuple[str, str], ...] = (
    ("sparse|coalesce|to_dense|ccol_|crow_|^(col|row)_indices|^(indices|values)$|^(hs|ss|ds|s)pmm|^smm$|saddmm|sspaddmm|SparseAdam"
     "|dense_dim",
     "tensors here are dense"),
    ("quant|^q_|^qscheme|int_repr|fake_|fbgemm|dequantize|choose_qparams|scaled_mm|grouped_mm|^scaled_grouped",
     "there are no quantised tensors"),
    ("cuda|cudnn|miopen|mkldnn|vulkan|mtia|maia|ipu|xpu|mps|xla|hpu|pin_memory|is_pinned|record_stream|get_device|device_module"
     "|set_default_device"
     "|get_default_device|DataParallel|SyncBatchNorm|accelerator", "there is one device, the cpu"),
    ("autocast|float32_matmul_precision|flush_denormal|deterministic|cpu_dtype|gpu_dtype",
     "element types are what the program says, and results are deterministic"),
    ("complex|^real$|^imag$|conj|^angle$|polar|view_as_real|resolve_|is_neg|cfloat|cdouble|chalf", "there are no complex numbers yet"),
    ("half|bfloat16|^byte$|^char$|^short$", "the element type is not there yet"),
    ("sym_|jit|script|compile|^fork$|^wait$|parse_|import_ir|unify_|merge_type|export|vmap_internals|while_loop|^cond$|GraphModule",
     "it belongs to PyTorch's own compilers; here `rustorch.jit` compiles"),
    ("storage|^set_$|data_ptr|share_memory|is_shared|^resize|dim_order|memory_format|^layout$|to_padded|nested|^is_set_to"
     "|empty_strided|empty_permuted",
     "memory belongs to the compiler: tensors have no storage of their own"),
    ("torch_function|^native_|boolean_dispatch|assert_int|ScalingType|SwizzleType|DeviceType|NestedIO|Profiler|kineto|view_replay"
     "|multithreading"
     "|factory_kwargs|swap_in_optim|module_load|reinforce|grad_layout|thread_safe_generator|init_num_threads|debug_unwrap|functionalize"
     "|is_tensor_like|warn_always|_ex$|symeig|^eig$", "it belongs to PyTorch's own machinery, or to its past"),
    ("named|^names$|align_|rename|refine_names|has_names", "dimensions have no names"),
    ("is_inference|inference_mode", "`no_grad` is all there is to it"),
    ("^(lstm|gru|rnn)_|LSTM|GRU|RNN|Transformer", "a module of linear layers in a loop does it; it is not written yet"),
    ("Lazy|Uninitialized", "modules know their sizes when they are made"),
    ("bessel|airy|hermite|legendre|chebyshev|laguerre|zeta|^i0|^i1|igamma|gammainc|erfcx|log_ndtr|mvlgamma_|kaiser",
     "the function has no vector code yet"),
    ("^gcd|^lcm", "Euclid's algorithm is a loop of unknown length for each element"),
    ("ctc|CTC|Adaptive(LogSoftmax)|fractional|Fractional|linear_cross_entropy|LinearCrossEntropy|CrossMapLRN|LBFGS|Adafactor|Muon"
     "|Buffer$|ParameterDict",
     "not written yet"),
    ("_copy$", "views of recorded tensors are copied where they must be: use the name without `_copy`, and `clone`"),
    ("^unsafe_|^(apply|map|map2)_$", "it works on single elements in Python, or past the checks"),
    ("^(save|load|from_file|from_dlpack|to_dlpack|set_printoptions|typename|compiled_with|set_default_tensor_type|is_storage"
     "|hash_tensor)", "not written yet"),
    ("_$", "the function without `_` is there; in place it is not"),
)  # fmt: skip


def documented(place: str) -> Iterator[str]:
    """The names of a place that have a docstring."""
    home: Any = torch if not place else torch.Tensor if place == "Tensor" else importlib.import_module(f"torch.{place}")
    for name in dir(home):
        found = getattr(home, name, None)
        if name.startswith("_") or inspect.ismodule(found) or not (callable(found) or inspect.isgetsetdescriptor(found)):
            continue
        if place != "Tensor" and getattr(found, "__module__", None) and not str(found.__module__).startswith("torch"):
            continue
        if not place and name[0].isupper():
            continue
        if (getattr(found, "__doc__", None) or "").strip() and not (place == "" and name.endswith("_")):
            yield name


def ours(place: str) -> Any:
    """The same place here; None where there is none."""
    if place in ("", "Tensor"):
        return rustorch.Tensor if place else rustorch
    try:
        return importlib.import_module(f"rustorch.{place}")
    except ImportError:
        return None


def reason(name: str) -> str:
    """Why a name is not here."""
    return next((why for pattern, why in REASONS if re.search(pattern, name)), "not written yet")


def text() -> str:
    """The list, place by place, reason by reason."""
    lines = [
        "## Names of PyTorch that are not here",
        "",
        f"Of the names that PyTorch {torch.__version__.partition('+')[0]} documents for dense tensors on a cpu, by place and reason. Made "
        "by",
        "`python -m tests.differential.absent`; a test compares it with PyTorch.",
    ]
    for place in PLACES:
        home = ours(place)
        names = list(documented(place))
        missing = [name for name in names if home is None or not hasattr(home, name)]
        title = f"torch.{place}" if place else "torch"
        lines += ["", f"### `{title}`: {len(names) - len(missing)} of {len(names)} are here", ""]
        grouped: dict[str, list[str]] = {}
        for name in missing:
            grouped.setdefault(reason(name), []).append(f"`{name}`")
        lines += [f"- {why}: {', '.join(group)}." for why, group in sorted(grouped.items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(text(), end="")
