"""Settings that hold for every test: hypothesis profiles and run-time checks of array shapes."""

from __future__ import annotations

import os

from hypothesis import settings
from jaxtyping import install_import_hook

from tests import shapes

# Deadlines measure the machine, not the code; the CI profile repeats the same examples every time.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# Where shapes are part of the signature; the hook has to be there before these modules are imported.
install_import_hook(["costmodel.network", "costmodel.encoders.treegru"], f"{shapes.__name__}.checked")
