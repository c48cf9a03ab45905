"""What compression bought: directions and weights by layer; size, operations, time and accuracy of the whole."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import nn

from svcca.capture.batches import Forward, batch_size, device_of, to_device
from svcca.capture.evaluations import Evaluate
from svcca.capture.layers import unwrap
from svcca.compare.result import current_versions
from svcca.compress.compressed_layers import CompressedLayer, corresponding_layers
from svcca.compress.costs import NetworkCost, network_costs
from svcca.core.arrays import from_numpy
from svcca.errors import InputError, message
from svcca.io.documents import Document

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "svcca.compression_report"
FORMAT_VERSION = 1

UNITS = ("B", "kB", "MB", "GB", "TB")
TIMES = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))


@dataclass(frozen=True)
class CompressionReport(Document):
    """What compression bought, measured on one batch.

    Attributes:
        layers: Linear layers and convolutions, in the order in which the network holds them.
        before: The network as it was.
        after: The smaller one.
        n_samples: In the batch.
        repeats: Forward passes that were timed, of each network.
        device: Where they ran, e.g. "cpu" or "cuda:0 (NVIDIA H200)".
        n_threads: Threads of torch on the CPU.
        title: The network.
        versions: Versions of svcca, torch and Python.
    """

    _FORMAT: ClassVar[str] = FORMAT
    _VERSION: ClassVar[int] = FORMAT_VERSION

    layers: tuple[CompressedLayer, ...]
    before: NetworkCost
    after: NetworkCost
    n_samples: int
    repeats: int
    device: str
    n_threads: int
    title: str = ""
    versions: dict[str, str] = field(default_factory=current_versions)

    @property
    def share_of_parameters(self) -> float:
        """Parameters after over before."""
        return _share(self.after.parameters, self.before.parameters)

    @property
    def share_of_bytes(self) -> float:
        """Bytes of parameters and buffers after over before."""
        return _share(self.after.bytes, self.before.bytes)

    @property
    def share_of_flops(self) -> float:
        """Floating-point operations of a forward pass after over before; NaN where none were counted."""
        return _share(self.after.flops, self.before.flops)

    @property
    def share_of_seconds(self) -> float:
        """Time of a forward pass after over before; above 1 where the smaller network is slower."""
        return _share(self.after.seconds, self.before.seconds)

    @property
    def speedup(self) -> float:
        """How many times as fast the smaller network is."""
        return _share(self.before.seconds, self.after.seconds)

    @property
    def accuracy_lost(self) -> float | None:
        """Accuracy before less accuracy after, negative for a gain; None where it was not measured."""
        if self.before.accuracy is None or self.after.accuracy is None:
            return None
        return self.before.accuracy - self.after.accuracy

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each layer: kind, inputs, outputs, directions (missing: whole), weights before and after."""
        import pandas as pd

        columns = [entry.name for entry in fields(CompressedLayer)]
        frame = pd.DataFrame([asdict(layer) for layer in self.layers], columns=columns)
        return frame.astype({"directions": "Int64"}).set_index("name").rename_axis("layer")

    def totals_to_frame(self) -> pd.DataFrame:
        """Return a row for each quantity (parameters, bytes, flops, seconds, accuracy): before, after, ratio."""
        import pandas as pd

        rows = {
            entry.name: [getattr(self.before, entry.name), getattr(self.after, entry.name)]
            for entry in fields(NetworkCost)
        }
        frame = pd.DataFrame.from_dict(rows, orient="index", columns=["before", "after"]).astype(float)
        frame["share"] = frame["after"] / frame["before"]
        return frame.rename_axis("quantity")

    def _plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def _from_plain(cls, plain: dict[str, Any], where: str) -> CompressionReport:
        layers = tuple(CompressedLayer(**layer) for layer in plain.pop("layers"))
        costs = {name: NetworkCost(**plain[name]) for name in ("before", "after")}
        return cls(**plain | costs | {"layers": layers})

    def __str__(self) -> str:
        """Return the report as text, in columns."""
        threads = "thread" if self.n_threads == 1 else "threads"
        place = f"on {self.device}, {self.n_threads} {threads}, {self.repeats} forward passes timed"
        lines = [f"{self.title}, a batch of {self.n_samples:,} {place}"]
        heads = ("layer", "kind", "inputs", "outputs", "directions", "weights", "after")
        rows: list[tuple[str, ...]] = [
            (
                layer.name,
                layer.kind,
                f"{layer.inputs:,}",
                f"{layer.outputs:,}",
                "all" if layer.directions is None else f"{layer.directions:,}",
                f"{layer.weights_before:,}",
                f"{layer.weights_after:,}",
            )
            for layer in self.layers
        ]
        return "\n".join([*lines, *_aligned([heads, *rows], 2), "", *_aligned(self._totals(), 1)])

    def _totals(self) -> list[tuple[str, ...]]:
        before, after = self.before, self.after
        rows: list[tuple[str, ...]] = [
            ("", "before", "after", "share"),
            ("parameters", f"{before.parameters:,}", f"{after.parameters:,}", _percent(self.share_of_parameters)),
            ("memory", _size(before.bytes), _size(after.bytes), _percent(self.share_of_bytes)),
            ("operations", f"{before.flops:,}", f"{after.flops:,}", _percent(self.share_of_flops)),
            ("forward pass", _time(before.seconds), _time(after.seconds), _percent(self.share_of_seconds)),
        ]
        if before.accuracy is not None and after.accuracy is not None:
            change = after.accuracy - before.accuracy
            rows.append(("accuracy", f"{before.accuracy:.4g}", f"{after.accuracy:.4g}", f"{change:+.4f}"))
        return rows


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{share:.1%}"


def _size(n_bytes: float) -> str:
    """Write bytes in the unit that leaves at most three digits before the point.

    >>> _size(4_915_200), _size(512)
    ('4.92 MB', '512 B')
    """
    for unit in UNITS:
        if n_bytes < 999.5 or unit == UNITS[-1]:
            break
        n_bytes /= 1000
    return f"{n_bytes:.3g} {unit}"


def _time(seconds: float) -> str:
    """Write seconds in the unit that fits.

    >>> _time(0.00321), _time(2.5)
    ('3.21 ms', '2.5 s')
    """
    unit, size = next(((unit, size) for unit, size in TIMES if seconds >= size), TIMES[-1])
    return f"{seconds / size:.3g} {unit}"


def _aligned(rows: list[tuple[str, ...]], n_words: int) -> list[str]:
    """Lines of columns: the first few of words, to the left, the others of numbers, to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if place < n_words else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def compression_report(
    model: nn.Module,
    smaller: nn.Module,
    batch: Any,
    *,
    evaluate: Evaluate | None = None,
    forward: Forward | None = None,
    repeats: int = 20,
) -> CompressionReport:
    """Measure what compression bought: parameters, memory, operations, time and accuracy, before and after.

    Both networks are run in evaluation mode without gradients and handed back as they were. They take turns at forward
    passes, so that whatever else the machine does falls on both.

    Args:
        model: The network as it was.
        smaller: What `compress` gave of it, trained further or not, or `load_compressed`.
        batch: One batch, as a loader yields it: what operations are counted and time is measured on.
        evaluate: evaluate(model) -> float, higher is better; called on both in evaluation mode. None: not measured.
        forward: Your own way to run the model: forward(model, batch).
        repeats: Forward passes of each that are timed; their median counts.

    Returns:
        A `CompressionReport`: a row a layer, totals, ratios; it prints, saves and loads.

    Raises:
        InputError: If the modules of the two do not correspond, they are on different devices, `evaluate` gives no
            finite number, or `repeats` is less than 1.
        SampleError: If the batch holds no sample.

    Cost:
        `repeats` + 3 forward passes of each network, and the two evaluations.

    >>> import svcca, torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64))
    >>> x = torch.randn(1000, 20)
    >>> report = svcca.compression_report(net, svcca.compress(net, x, layers="2", ranks=16), x, repeats=1)
    >>> report.before.parameters, report.after.parameters, report.layers[1].directions
    (5504, 3456, 16)
    """
    if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
        raise InputError(message("compression_report repeats", "a number of forward passes, at least 1", repr(repeats)))
    before, after = unwrap(model), unwrap(smaller)
    device = device_of(before)
    if device_of(after) != device:
        raise InputError(message("compression_report", "both models on one device", f"{device}, {device_of(after)}"))
    layers = corresponding_layers(before, after)
    if isinstance(batch, np.ndarray):
        batch = from_numpy(batch, "compression_report batch")
    n_samples = batch_size(batch, "compression_report batch")
    pair, batch = (before, after), to_device(batch, device)
    costs = network_costs(pair, batch, evaluate, forward, repeats, device)
    where = f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)
    n_threads, title = torch.get_num_threads(), type(before).__name__
    return CompressionReport(layers, costs[0], costs[1], n_samples, repeats, where, n_threads, title)
