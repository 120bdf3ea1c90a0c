"""The wheel of the working tree, built once."""

from pathlib import Path

import pytest

from environments import build


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel of the working tree."""
    return build(Path(__file__).parents[2], tmp_path_factory.mktemp("wheel"), "wheel")
