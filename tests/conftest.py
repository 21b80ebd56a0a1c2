"""Settings that all tests share.

``HYPOTHESIS_PROFILE=ci`` makes every property test draw the same examples in every run.
"""

import os
import sys

# Before torch or a tokenizer is imported: one thread gives the same digits on every machine, and no fork
# or subprocess of a test has threads to lose.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# No test may depend on the network; with these set, a slip fails at once instead of after a long wait.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# As the program does for itself where nobody watches; here the libraries are loaded before it starts.
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import pytest
from hypothesis import settings

# A busy machine is no reason to fail: no test is timed.
settings.register_profile("untimed", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "untimed"))


@pytest.fixture(scope="module", autouse=True)
def pictures():
    """Pages without their pictures: matplotlib's strokes are half of a tiny run's time, and most tests look at none.

    Everything up to them is made as ever. Where pictures are looked at, a module or folder has a fixture of this name
    that leaves them in; a single test sets what this one gives, the function that draws.
    """
    from ifedpriv.report import canvas

    with pytest.MonkeyPatch.context() as patch:
        drawing = canvas._rendered
        patch.setattr(canvas, "_rendered", lambda figure: "<svg></svg>")
        yield drawing


@pytest.fixture(autouse=True)
def one_thread():
    """A run sets the threads that its configuration names; the next test is not to inherit them."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
