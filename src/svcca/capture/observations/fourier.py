"""Maps by spatial frequency."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any, ClassVar

from torch import Tensor

from svcca.capture.batches import ShiftedBatches
from svcca.capture.observations.base import Observation, Shape
from svcca.capture.observations.shapes import check_axes, size_in_words
from svcca.core.accumulator import Accumulator
from svcca.core.kept import KeptLayers
from svcca.core.subspace import SVDStep
from svcca.errors import InputError, message, unknown_option
from svcca.fourier.frequencies import RESIZE, Resize, match_frequencies
from svcca.fourier.grid import FourierAccumulator
from svcca.fourier.kept import KeptMaps


@dataclass(frozen=True)
class Fourier(Observation):
    """Maps by spatial frequency: exact CCA of the flattened maps of equivariant layers over shifted inputs.

    For all layers of a comparison or none. Vectors compare with the zero frequency of maps, their mean.

    Attributes:
        phases: Number of shifts along each axis: inputs (n_samples, channels, *sizes) are fed under every cyclic shift
            by 0 to phases - 1 positions. Pass the total stride of the layer of the smallest map. 1 shifts nothing.
        resize: The approximation for maps whose sizes do not divide each other: "crop" or "interpolate".
        channels_last: Whether layers put out (n_samples, *sizes, channels).

    References:
        Raghu et al. (2017), section 3.
    """

    phases: int = 1
    resize: Resize | None = None
    channels_last: bool = False
    name: ClassVar[str] = "fourier"
    for_all_layers: ClassVar[bool] = True
    by_frequency: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the choices."""
        if not isinstance(self.phases, int) or isinstance(self.phases, bool) or self.phases < 1:
            raise InputError(message("Fourier", "phases as a positive integer", repr(self.phases)))
        if self.resize is not None and self.resize not in RESIZE:
            raise unknown_option("Fourier", "resize", self.resize, RESIZE)

    def rows(self, output: Tensor, mask: Tensor | None, where: str) -> Tensor:
        """Return maps (n, channels, *positions), or vectors, as they are."""
        check_axes(output, where, "fourier", 2, "(n_samples, channels, *positions)")
        if output.is_complex():
            got = f"dtype {str(output.dtype).removeprefix('torch.')}"
            raise InputError(message(where, "real maps for 'fourier'", got))
        return output.movedim(-1, 1) if self.channels_last and output.ndim > 2 else output

    def describe(self, shape: Shape) -> str:
        """Name the rule, with the size of the map."""
        if len(shape) == 2:
            return "fourier (vector: zero frequency)"
        sizes = shape[1:-1] if self.channels_last else shape[2:]
        phases = f", {self.phases} phases an axis" if self.phases > 1 else ""
        resize = {"crop": ", cropped to the smaller map", "interpolate": ", resized to the largest map", None: ""}
        channels = shape[-1 if self.channels_last else 1]
        return f"fourier ({channels} channels, {size_in_words(sizes)}{phases}{resize[self.resize]})"

    def advice(self, sizes: Sequence[tuple[int, ...]]) -> str:
        """Recommend the rule for convolutional layers, with `resize` where their sizes do not divide each other."""
        text = "'fourier' for convolutional layers"
        if any(_do_not_match(a, b) for a, b in combinations(sorted(sizes), 2)):
            text += ", with Fourier(resize=...) since their sizes do not divide each other"
        return text

    def accumulator(self, *, self_comparison: bool, keep_rows: bool, memory_budget: int | None) -> Accumulator:
        """Return what folds maps by frequency; no measure that is defined there needs the maps themselves."""
        return FourierAccumulator(self_comparison=self_comparison, resize=self.resize, memory_budget=memory_budget)

    def presented(self, batches: Iterable[Any] | None, *, captured: bool) -> Iterable[Any] | None:
        """Return every batch under every shift of its images.

        Raises:
            InputError: For several phases where captured activations take part, which cannot be shifted.
        """
        if self.phases == 1:
            return batches
        if captured or batches is None:
            expected, remedy = "live models, which can be run on shifted inputs", "Pass models, or Fourier(phases=1)"
            raise InputError(message("Fourier phases", expected, "captured activations", "", remedy))
        return ShiftedBatches(batches, self.phases)

    def check_layers(self, rows: Mapping[str, Shape], columns: Mapping[str, Shape]) -> None:
        """Raise InputError, with the names, for two layers whose maps have no frequencies in common."""
        if all(len(shape) == 2 for shape in (*rows.values(), *columns.values())):
            expected, remedy = "a layer of maps (n_samples, channels, *sizes)", "Use observe='flatten'"
            raise InputError(message("observe='fourier'", expected, "vectors only", "", remedy))
        if self.resize == "interpolate":
            return
        for (x, x_shape), (y, y_shape) in product(rows.items(), columns.items()):
            match_frequencies(tuple(x_shape[2:]), tuple(y_shape[2:]), self.resize, f"{x} and {y}")

    def remark(self, n_samples: int) -> str:
        """Return the remark that shifts of one image are not independent."""
        if self.phases == 1:
            return ""
        return (
            f"Each image counts once for each of its shifts by 0 to {self.phases - 1} positions along every axis, and "
            "these are not independent: judge the number of samples, "
            f"{n_samples:,}, and the chance level by the images."
        )

    def keep(self, rows: Mapping[str, Tensor], step: SVDStep) -> KeptLayers:
        """Decompose each layer at every frequency, and keep its maps: they have no small basis of samples."""
        shapes = {name: tuple(maps.shape) for name, maps in rows.items()}
        self.check_layers(shapes, shapes)
        return KeptMaps.of(rows, step, self.resize)

    def restore(self, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> KeptLayers:
        """Rebuild what `keep` returned."""
        return KeptMaps.unpacked(tensors, plain, self.resize)


def _do_not_match(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Return whether two maps have no frequencies in common by themselves."""
    try:
        match_frequencies(a, b, None, "")
    except InputError:
        return True
    return False
