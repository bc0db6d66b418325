"""Retinal OCT exams and the OCTCube-M models: reading, analysis, explanation. No Qt, no napari.

The public names are listed in ``__init__.pyi`` and loaded on first use (SPEC 1), so that importing this package,
or reading an exam with it, imports no torch.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
