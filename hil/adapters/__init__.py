"""Plants made of other people's battery models. Each needs an extra; nothing is imported before."""

from __future__ import annotations

import importlib
from typing import Any

from controller.domain.errors import refuse


def needed(module: str) -> Any:
    """Import a library that an extra of the same name brings.

    Raises
    ------
    ConfigurationError
        It is not installed; names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise refuse(
            f"plant hil.adapters.{module}",
            "",
            f"needs the library {module}: {error}",
            f"pip install 'lithium-reactivation[{module}]'",
        ) from None
