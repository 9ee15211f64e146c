"""What tests of the front end share: the fixture `door`, which runs each test twice."""

from __future__ import annotations

import pytest

from tests.frontend.door import Door


@pytest.fixture(params=["recorded", "jit"])
def door(request: pytest.FixtureRequest) -> Door:
    """Programs as they are, then programs under `jit`."""
    return Door(request.param == "jit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Many programs go through a door, from one line each: that they are all new is no news."""
    for item in items:
        if "door" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.filterwarnings("ignore:.* was compiled .* times in a row:UserWarning"))
