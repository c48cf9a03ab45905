"""What is kept of a network at one step of training: each layer's small basis over a fixed probe set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from svcca.capture.accumulate import kept_rows
from svcca.capture.batches import ONE_BATCH, SMALL_BATCH, Forward, kept_batches
from svcca.capture.rules import Observe, fourier_rule
from svcca.capture.sources import ModelSource
from svcca.capture.stream import ObservedNetwork
from svcca.core.subspace import Subspace, SVDStep
from svcca.errors import FileError, InputError, message
from svcca.io.files import PathLike, write_atomically

FORMAT = "svcca.snapshot.1"
KEPT = ("basis", "singular_values", "directions", "mean")


@dataclass(frozen=True)
class Settings:
    """How snapshots are taken; only snapshots of the same settings compare.

    Attributes:
        layers: Names or patterns of the layers; None: every leaf module.
        observe: The observation rule, as text.
        step: The SVD step that bases are cut by.
    """

    layers: tuple[str, ...] | None
    observe: str
    step: SVDStep

    @classmethod
    def of(cls, layers: str | Sequence[str] | None, observe: Observe, step: SVDStep) -> Settings:
        """Settings from the arguments of a call.

        Raises:
            InputError: For the Fourier rule, which has no basis of samples.
        """
        if fourier_rule(observe) is not None:
            remedy = "Use 'pool', or Pixels(n_positions=...)"
            raise InputError(message("learning dynamics", "a rule that gives rows", "'fourier'", "", remedy))
        names = (layers,) if isinstance(layers, str) else layers
        return cls(None if names is None else tuple(names), repr(observe), step)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Every layer of a network at one step, over the probe set.

    Attributes:
        step: When it was taken.
        names: Layers in order of execution.
        observations: Rule by which each became rows.
        subspaces: Singular values, directions and orthonormal basis of each, on the CPU.
        settings: How it was taken.
    """

    step: int
    names: tuple[str, ...]
    observations: tuple[str, ...]
    subspaces: tuple[Subspace, ...]
    settings: Settings

    @property
    def n_samples(self) -> int:
        """Rows of the probe set."""
        return self.subspaces[0].n_samples

    def packed(self) -> tuple[dict[str, Tensor], str]:
        """Return the arrays by name, and the rest as JSON."""
        tensors = {
            f"{index}.{name}": getattr(subspace, name).contiguous()
            for index, subspace in enumerate(self.subspaces)
            for name in KEPT
        }
        rest = {
            "step": self.step,
            "names": self.names,
            "observations": self.observations,
            "settings": asdict(self.settings),
            "n_samples": self.n_samples,
            "total_variance": [subspace.total_variance for subspace in self.subspaces],
            "uncut_nuclear_norm": [subspace.uncut_nuclear_norm for subspace in self.subspaces],
        }
        return tensors, json.dumps(rest)

    @classmethod
    def unpacked(cls, tensors: Mapping[str, Tensor], text: str) -> Snapshot:
        """Rebuild a snapshot from what `packed` returned."""
        rest: dict[str, Any] = json.loads(text)
        plain = rest["settings"]
        layers = None if plain["layers"] is None else tuple(plain["layers"])
        settings = Settings(layers, plain["observe"], SVDStep(**plain["step"]))
        subspaces = tuple(
            Subspace(
                rest["n_samples"],
                tensors[f"{index}.mean"],
                tensors[f"{index}.singular_values"],
                tensors[f"{index}.directions"],
                rest["total_variance"][index],
                tensors[f"{index}.basis"],
                uncut_nuclear_norm=rest["uncut_nuclear_norm"][index],
            )
            for index in range(len(rest["names"]))
        )
        return cls(rest["step"], tuple(rest["names"]), tuple(rest["observations"]), subspaces, settings)

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
    def load(cls, path: Path) -> Snapshot:
        """Read a snapshot that `save` wrote.

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
            return cls.unpacked(tensors, metadata["snapshot"])
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
    network = ObservedNetwork(source)
    rows = kept_rows(network, probe, observe, progress=False)
    subspaces = tuple(
        _on_cpu(Subspace.from_rows(block, f"{source.title} {name!r}", step=settings.step))
        for name, block in rows.items()
    )
    observations = tuple(layer.observation for layer in network.layers)
    return Snapshot(number, tuple(rows), observations, subspaces, settings)


def _on_cpu(subspace: Subspace) -> Subspace:
    return replace(subspace, **{name: getattr(subspace, name).cpu() for name in KEPT})
