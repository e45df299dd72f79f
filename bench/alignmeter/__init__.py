"""alignmeter: what alignment training costs, measured on the hardware at hand.

Importing this package does no work: torch is loaded by the floors that need it.
"""

__version__ = "0.1.0"
__all__ = ["__version__"]
