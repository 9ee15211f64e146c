"""The version of rustorch: the one place that says it (the package's metadata is read from here)."""

VERSION = "0.1.0"
