"""What is kept of a network at one step of training, over a fixed probe set: as its observation rule says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from svcca.capture.accumulate import kept_rows
from svcca.capture.batches import ONE_BATCH, SMALL_BATCH, Forward, kept_batches
from svcca.capture.rules import Observe, common_rule
from svcca.capture.sources import ModelSource
from svcca.capture.stream import ObservedNetwork
from svcca.core.coherence import LayerSpectrum
from svcca.core.kept import KeptLayers
from svcca.core.subspace import SVDStep
from svcca.errors import FileError, message
from svcca.io.files import PathLike, write_atomically

FORMAT = "svcca.snapshot.2"


@dataclass(frozen=True)
class Settings:
    """How snapshots are taken; only snapshots of the same settings compare.

    Attributes:
        layers: Names or patterns of the layers; None: every leaf module.
        observe: The observation rule, as text.
        step: The SVD step that layers are cut by.
    """

    layers: tuple[str, ...] | None
    observe: str
    step: SVDStep

    @classmethod
    def of(cls, layers: str | Sequence[str] | None, observe: Observe, step: SVDStep) -> Settings:
        """Settings from the arguments of a call."""
        names = (layers,) if isinstance(layers, str) else layers
        return cls(None if names is None else tuple(names), repr(observe), step)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Every layer of a network at one step, over the probe set.

    Attributes:
        step: When it was taken.
        names: Layers in order of execution.
        observations: Rule by which each became rows.
        kept: The layers, decomposed, with what a pair of two of them needs.
        settings: How it was taken.
    """

    step: int
    names: tuple[str, ...]
    observations: tuple[str, ...]
    kept: KeptLayers
    settings: Settings

    @property
    def n_samples(self) -> int:
        """Rows of the probe set."""
        return self.kept.n_samples

    @property
    def subspaces(self) -> Sequence[LayerSpectrum]:
        """The layers, decomposed."""
        return self.kept.subspaces

    def packed(self) -> tuple[dict[str, Tensor], str]:
        """Return the arrays by name, and the rest as JSON."""
        tensors, kept = self.kept.packed()
        rest = {
            "step": self.step,
            "names": self.names,
            "observations": self.observations,
            "settings": asdict(self.settings),
            "kept": kept,
        }
        return tensors, json.dumps(rest)

    @classmethod
    def unpacked(cls, tensors: Mapping[str, Tensor], text: str, observe: Observe) -> Snapshot:
        """Rebuild a snapshot from what `packed` returned, by the rule that it was taken by."""
        rest: dict[str, Any] = json.loads(text)
        plain = rest["settings"]
        layers = None if plain["layers"] is None else tuple(plain["layers"])
        settings = Settings(layers, plain["observe"], SVDStep(**plain["step"]))
        kept = common_rule(observe).restore(tensors, rest["kept"])
        return cls(rest["step"], tuple(rest["names"]), tuple(rest["observations"]), kept, settings)

    def save(self, folder: Path) -> Path:
        """Write the snapshot into a folder as .safetensors; nothing half-written is left behind.

        Raises:
            FileError: If it cannot be written.
        """
        from safetensors.torch import save_file

        tensors, rest = self.packed()
        metadata = {"format": FORMAT, "snapshot": rest}
        return write_atomically(path_of(folder, self.step), lambda path: save_file(tensors, path, metadata=metadata))

    @classmethod
    def load(cls, path: Path, observe: Observe) -> Snapshot:
        """Read a snapshot that `save` wrote, taken by this rule.

        Raises:
            FileError: If the file is no snapshot, or damaged.
        """
        from safetensors import safe_open

        where = f"snapshot {path}"
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != FORMAT:
                    got = metadata.get("format", "another kind of file")
                    raise FileError(message(where, f"a snapshot of format {FORMAT}", got, "", "Delete it"))
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (a file, no mapping)
            return cls.unpacked(tensors, metadata["snapshot"], observe)
        except FileError:
            raise
        except Exception as error:  # a damaged file raises errors of many kinds
            got = f"{type(error).__name__}: {error}"
            cause, remedy = "The file is truncated or no snapshot", "Delete it, and it is taken again"
            raise FileError(message(where, "a snapshot", got, cause, remedy)) from error


def path_of(folder: Path, step: int) -> Path:
    """Where a snapshot lies in a folder."""
    return folder / f"snapshot-{step:09d}.safetensors"


def saved_snapshots(folder: PathLike | None) -> dict[int, Path]:
    """Snapshots in a folder by step."""
    if folder is None or not Path(folder).is_dir():
        return {}
    files = sorted(Path(folder).glob("snapshot-*.safetensors"))
    return {int(path.stem.removeprefix("snapshot-")): path for path in files}


def probe_of(data: object, device: torch.device | None = None) -> list[Any]:
    """Batches of the probe set, kept: every snapshot must see the same inputs in the same order, shuffled or not.

    Args:
        data: A loader, or one tensor, array or dict that is split.
        device: Where the network is; on a CPU it is split into small batches.

    Raises:
        SampleError: If there are none.
        InputError: If `data` is nothing that can be iterated.
    """
    on_cpu = device is not None and device.type == "cpu"
    return kept_batches(data, "the probe set", SMALL_BATCH if on_cpu else ONE_BATCH)


def take_snapshot(
    model: nn.Module,
    probe: Sequence[Any],
    number: int,
    settings: Settings,
    observe: Observe,
    forward: Forward | None = None,
) -> Snapshot:
    """Run the probe set through a model and decompose every layer; the model is handed back as it was.

    Raises:
        LayerError: For a layer that is not there.
        InputError: For a layer that cannot be observed, or is constant; the message names the step.
    """
    source = ModelSource(model, settings.layers, forward, f"{type(model).__name__} at step {number}")
    network, rule = ObservedNetwork(source), common_rule(observe)
    rows = kept_rows(network, rule.presented(probe, captured=False), observe, progress=False)
    kept = rule.keep({f"{source.title} {name!r}": block for name, block in rows.items()}, settings.step)
    observations = tuple(layer.observation for layer in network.layers)
    return Snapshot(number, tuple(rows), observations, kept, settings)
