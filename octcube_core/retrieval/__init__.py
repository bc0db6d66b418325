"""Similar eyes: an index of embeddings, how it is filled, and what it is asked.

What ``__init__.pyi`` lists is loaded on first use (SPEC 1), so that the viewer can search without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
