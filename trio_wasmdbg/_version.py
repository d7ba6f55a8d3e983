"""The one place that says which release this is; the build reads it."""

__version__ = "0.1.0.dev0"
