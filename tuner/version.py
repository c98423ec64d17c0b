"""The version of this package, which studies, bundles and reports record."""

__version__ = "0.1.0"
