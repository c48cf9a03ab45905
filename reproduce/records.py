"""Keep the record of a run: claims with their verdicts, settings, hardware and seconds; and its pictures."""

from __future__ import annotations

import json
import os
import platform
import re
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from reproduce.cache import write
from reproduce.study import Outcome, Study


@dataclass(frozen=True)
class Record:
    """A run of a figure, as its JSON file holds it."""

    plain: dict[str, Any]

    @classmethod
    def of(cls, study: Study, title: str, items: tuple[int, ...], outcome: Outcome, seconds: float) -> Record:
        """Collect everything a reader needs to judge the verdicts."""
        plain = {"name": study.name, "title": title, "items": list(items), "preset": study.preset}
        plain |= {"claims": [finding.to_dict() for finding in outcome.findings]}
        plain |= {"figures": [_file(study.name, part) for part in outcome.figures]}
        plain |= {"settings": asdict(study.settings), "hardware": hardware(study.device)}
        plain |= {"warnings": pooled(study.warnings)}
        return cls(json.loads(json.dumps(plain | {"seconds": round(seconds, 1)})))

    def save(self, folder: Path, figures: dict[str, Figure]) -> None:
        """Write the pictures, then the record, so that a record always has its pictures."""
        for part, figure in figures.items():
            write(folder / _file(self.plain["name"], part), lambda path, figure=figure: figure.savefig(path))  # type: ignore[misc]
        text = json.dumps(self.plain, indent=1) + "\n"
        write(folder / f"{self.plain['name']}.json", lambda path: path.write_text(text, encoding="utf-8"))


def pooled(warnings: list[str]) -> list[str]:
    """Return one warning of each kind, with a count of those that differ only in their numbers and subjects."""
    kinds: dict[str, list[str]] = {}
    for text in warnings:
        _, _, what = text.rpartition(": ") if text.count(": ") == 1 else ("", "", text)
        kinds.setdefault(re.sub(r"\d[\d.,e-]*", "#", what), []).append(text)
    return [texts[0] + (f" ({len(texts) - 1} more like it)" if len(texts) > 1 else "") for texts in kinds.values()]


def hardware(device: torch.device) -> dict[str, Any]:
    """Return the machine and the versions that the numbers come from."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    found = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }
    found |= {"threads": torch.get_num_threads(), "gpu": gpu, "python": platform.python_version()}
    return found | {"torch": torch.__version__, "svcca": metadata.version("svcca")}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _file(name: str, part: str) -> str:
    return f"{name}-{part}.png" if part else f"{name}.png"
