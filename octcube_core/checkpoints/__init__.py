"""Models as files: our format, the released files' layouts, and the names that stand for them.

What ``__init__.pyi`` lists is loaded on first use (SPEC 1), so that the model card can be had without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
