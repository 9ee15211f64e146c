"""Gradients as native code: PyTorch's manners in front of one optimising compiler."""

from rustorch.autograd import grad
from rustorch.frontend import functions as _functions
from rustorch.frontend import generated as _generated
from rustorch.frontend.batching import vmap
from rustorch.frontend.creation import (
    arange,
    as_tensor,
    asarray,
    bartlett_window,
    blackman_window,
    empty,
    empty_like,
    eye,
    from_numpy,
    frombuffer,
    full,
    full_like,
    hamming_window,
    hann_window,
    linspace,
    logspace,
    ones,
    ones_like,
    scalar_tensor,
    tensor,
    tril_indices,
    triu_indices,
    zeros,
    zeros_like,
)
from rustorch.frontend.dtype import (
    Size,
    can_cast,
    device,
    dtype,
    finfo,
    get_default_dtype,
    iinfo,
    promote_types,
    result_type,
    set_default_dtype,
)
from rustorch.frontend.explain import explain
from rustorch.frontend.functions import *  # noqa: F403
from rustorch.frontend.generated import *  # noqa: F403
from rustorch.frontend.jit import jit
from rustorch.frontend.modes import enable_grad, inference_mode, is_grad_enabled, is_inference_mode_enabled, no_grad, set_grad_enabled
from rustorch.frontend.random import (
    Generator,
    bernoulli,
    default_generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    normal,
    rand,
    rand_like,
    randint,
    randn,
    randn_like,
    seed,
    set_rng_state,
)
from rustorch.frontend.recorder import sync
from rustorch.frontend.sampling import binomial, multinomial, randint_like, randperm
from rustorch.frontend.structure import changed, watch
from rustorch.frontend.tensor import Tensor, Variable
from rustorch.frontend.transforms import hessian, jacfwd, jacrev, jvp, value_and_grad, vjp
from rustorch.inspection import inspect
from rustorch.ir.dtypes import bool_ as bool
from rustorch.ir.dtypes import f32, f64, i32, i64
from rustorch.ir.dtypes import f32 as float
from rustorch.ir.dtypes import f32 as float32
from rustorch.ir.dtypes import f64 as double
from rustorch.ir.dtypes import f64 as float64
from rustorch.ir.dtypes import i32 as int
from rustorch.ir.dtypes import i32 as int32
from rustorch.ir.dtypes import i64 as int64
from rustorch.ir.dtypes import i64 as long
from rustorch.runtime.threads import get_num_threads, set_num_threads
from rustorch.version import VERSION as __version__

# isort: split
# What follows is written with the names above, like any user's program.
from rustorch import aot, autograd, debug, func, functional, linalg, nn, optim, special, testing, utils
from rustorch.functional import (
    adaptive_avg_pool1d,
    alpha_dropout,
    avg_pool1d,
    batch_norm,
    celu,
    channel_shuffle,
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    cosine_similarity,
    dropout,
    embedding,
    embedding_bag,
    feature_alpha_dropout,
    group_norm,
    hardshrink,
    instance_norm,
    kl_div,
    layer_norm,
    log_softmax,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    pairwise_distance,
    pdist,
    pixel_shuffle,
    pixel_unshuffle,
    prelu,
    rms_norm,
    rrelu,
    selu,
    softmax,
    threshold,
)
from rustorch.nn import (
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    BCELoss,
    BCEWithLogitsLoss,
    Conv2d,
    CrossEntropyLoss,
    Dropout,
    Embedding,
    Flatten,
    L1Loss,
    LayerNorm,
    Linear,
    MaxPool2d,
    Module,
    MSELoss,
    NLLLoss,
    Parameter,
    ReLU,
    Sequential,
)
from rustorch.optim import SGD, Adagrad, Adam, AdamW, RMSprop

__all__ = [
    "__version__", "Adagrad", "Adam", "AdamW", "adaptive_avg_pool1d", "alpha_dropout", "aot", "arange", "as_tensor", "asarray", "autograd",
    "avg_pool1d", "AvgPool2d", "bartlett_window", "batch_norm", "BatchNorm1d", "BatchNorm2d", "BCELoss", "BCEWithLogitsLoss", "bernoulli",
    "binomial", "blackman_window", "bool", "can_cast", "celu", "changed", "channel_shuffle", "conv1d", "Conv2d", "conv2d", "conv3d",
    "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "cosine_similarity", "CrossEntropyLoss", "debug", "default_generator",
    "device", "double", "Dropout", "dropout", "dtype", "Embedding", "embedding", "embedding_bag", "empty", "empty_like", "enable_grad",
    "explain", "eye", "f32", "f64", "feature_alpha_dropout", "finfo", "Flatten", "float", "float32", "float64", "from_numpy", "frombuffer",
    "full", "full_like", "func", "functional", "Generator", "get_default_dtype", "get_num_threads", "get_rng_state", "grad", "group_norm",
    "hamming_window", "hann_window", "hardshrink", "hessian", "i32", "i64", "iinfo", "inference_mode", "initial_seed", "inspect",
    "instance_norm", "int", "int32", "int64", "is_grad_enabled", "is_inference_mode_enabled", "jacfwd", "jacrev", "jit", "jvp", "kl_div",
    "L1Loss", "layer_norm", "LayerNorm", "linalg", "Linear", "linspace", "log_softmax", "logspace", "long", "manual_seed", "max_pool1d",
    "max_pool2d", "max_pool3d", "MaxPool2d", "Module", "MSELoss", "multinomial", "NLLLoss", "nn", "no_grad", "normal", "ones", "ones_like",
    "optim", "pairwise_distance", "Parameter", "pdist", "pixel_shuffle", "pixel_unshuffle", "prelu", "promote_types", "rand", "rand_like",
    "randint", "randint_like", "randn", "randn_like", "randperm", "ReLU", "result_type", "rms_norm", "RMSprop", "rrelu", "scalar_tensor",
    "seed", "selu", "Sequential", "set_default_dtype", "set_grad_enabled", "set_num_threads", "set_rng_state", "SGD", "Size", "softmax",
    "special", "sync", "Tensor", "tensor", "testing", "threshold", "tril_indices", "triu_indices", "utils", "value_and_grad", "Variable",
    "vjp", "vmap", "watch", "zeros", "zeros_like",
]  # fmt: skip
__all__.extend(_functions.__all__)
__all__.extend(_generated.__all__)
