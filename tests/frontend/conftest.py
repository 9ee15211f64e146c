"""What tests of the front end share: the fixture `door`, which runs each test twice."""

from __future__ import annotations

import pytest

from tests.frontend.door import Door


@pytest.fixture(params=["recorded", "jit"])
def door(request: pytest.FixtureRequest) -> Door:
    """Programs as they are, then programs under `jit`."""
    return Door(request.param == "jit")
