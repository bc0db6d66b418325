from .format import load_checkpoint, save_checkpoint
from .zoo import load_model

__all__ = ["load_checkpoint", "load_model", "save_checkpoint"]
