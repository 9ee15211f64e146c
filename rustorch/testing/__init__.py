"""What tests of programs with gradients need: comparison of tensors, gradients against central differences."""

from rustorch.frontend.gradcheck import GradcheckError, gradcheck, gradgradcheck
from rustorch.testing.comparison import assert_close

__all__ = ["GradcheckError", "assert_close", "gradcheck", "gradgradcheck"]
