"""A module that needs another one, which nobody installed."""

import a_module_that_nobody_has  # noqa: F401
