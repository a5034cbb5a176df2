"""adainf: pretrained vision models whose compute follows a budget."""

from importlib.metadata import version

__version__ = version("adainf")
