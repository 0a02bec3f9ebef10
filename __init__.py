"""tessella serves Vision Transformers: ViT, DeiT and TNT checkpoints behind one HTTP command."""

__version__ = "0.1.0"
