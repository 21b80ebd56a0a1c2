"""Here pictures are what is tested."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def pictures():
    """As the program makes them."""
