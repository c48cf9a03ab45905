"""Compress a network: its layers see their inputs through the directions that matter.

`svcca.compress` is the function; the names of this room are imported by `from svcca.compress import ...`.
"""

from svcca.compress.compress import Against, compress
from svcca.compress.compressed_layers import CompressedLayer
from svcca.compress.compression_curve import CompressionCurve, CompressionPoint, Methods, compression_curve
from svcca.compress.compression_report import CompressionReport, compression_report
from svcca.compress.costs import NetworkCost
from svcca.compress.loading import export_program, load_compressed, save_weights
from svcca.compress.ranks import Ranks

__all__ = [
    "Against",
    "CompressedLayer",
    "CompressionCurve",
    "CompressionPoint",
    "CompressionReport",
    "Methods",
    "NetworkCost",
    "Ranks",
    "compress",
    "compression_curve",
    "compression_report",
    "export_program",
    "load_compressed",
    "save_weights",
]
