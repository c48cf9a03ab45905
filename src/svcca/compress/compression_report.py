"""What compression bought: directions and weights by layer; size, operations, time and accuracy of the whole."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from svcca.compare.result import current_versions
from svcca.io.documents import Document

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "svcca.compression_report"
FORMAT_VERSION = 1

UNITS = ("B", "kB", "MB", "GB", "TB")
TIMES = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))


@dataclass(frozen=True)
class CompressedLayer:
    """A linear layer or convolution of a network, before and after.

    Attributes:
        name: Of the layer.
        kind: "Linear" or "Conv2d".
        inputs: Features, or channels.
        outputs: Likewise.
        directions: Directions of its inputs that are kept, of each group's for a grouped convolution; None where it
            sees them whole.
        weights_before: Its weights, without the bias.
        weights_after: Those of what stands in its place, likewise. A layer that is whole has fewer where it took in
            the first factor of the layer that it feeds.
    """

    name: str
    kind: str
    inputs: int
    outputs: int
    directions: int | None
    weights_before: int
    weights_after: int


@dataclass(frozen=True)
class NetworkCost:
    """What a network takes, and what it is good for.

    Attributes:
        parameters: How many; shared ones count once.
        bytes: Of parameters and buffers.
        flops: Floating-point operations of a forward pass on the batch: matrix products, convolutions, attention.
        seconds: Median time of a forward pass on the batch.
        accuracy: What the user's evaluate says; None where there was none.
    """

    parameters: int
    bytes: int
    flops: int
    seconds: float
    accuracy: float | None = None


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
        """Give a row a layer: kind, inputs, outputs, directions (missing: it is whole), weights before and after."""
        import pandas as pd

        columns = [entry.name for entry in fields(CompressedLayer)]
        frame = pd.DataFrame([asdict(layer) for layer in self.layers], columns=columns)
        return frame.astype({"directions": "Int64"}).set_index("name").rename_axis("layer")

    def totals_to_frame(self) -> pd.DataFrame:
        """Give a row a quantity (parameters, bytes, flops, seconds, accuracy): before, after, after over before."""
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
        """Tell it in plain words, in columns."""
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
