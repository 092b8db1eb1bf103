"""The scorer of the real scenes, which lies with the data and not in the project."""

import importlib.util
from pathlib import Path
from types import ModuleType


def load_scorer(shared: Path) -> ModuleType:
    """Load SHARED/tools/score_views.py, which defines the protocols."""
    spec = importlib.util.spec_from_file_location("score_views", shared / "tools" / "score_views.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
