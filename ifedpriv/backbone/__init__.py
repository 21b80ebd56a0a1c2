"""Frozen language models: where their branches add to the residual stream, read, changed and folded."""

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.backbone.batches import Batch
from ifedpriv.backbone.hooks import Captured, capture, inject

__all__ = ["Backbone", "Batch", "Captured", "capture", "inject"]
