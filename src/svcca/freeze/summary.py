"""Summary of Freeze Training: what froze when, and what that saved."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from svcca.freeze.blocks import Block

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class FreezeEvent:
    """The freezing of a block.

    Attributes:
        block: Name of the block.
        step: Step after which it froze.
        reason: Reason why it froze then.
    """

    block: str
    step: int
    reason: str


@dataclass(frozen=True)
class PhaseCost:
    """Steps during which the same blocks were frozen, and the cost of one of them.

    Attributes:
        n_frozen: Number of frozen blocks.
        n_steps: Number of steps.
        seconds_per_step: Median time of a step; NaN if none was timed.
        flops_per_step: Floating-point operations of a step; NaN if they could not be counted.
    """

    n_frozen: int
    n_steps: int
    seconds_per_step: float
    flops_per_step: float


@dataclass(frozen=True)
class FreezeSummary:
    """What froze when and why, and what that saved, measured in the run itself.

    Attributes:
        blocks: All blocks, from the input on.
        events: Freezings, in order.
        phases: Steps by the number of frozen blocks, with their cost.
        baseline_flops_per_step: Floating-point operations of a step with nothing frozen.
        overhead_flops: Floating-point operations that were no training: snapshots.
        overhead_seconds: Time of those.
        n_steps: Number of steps so far.
        total_steps: Number of steps in the whole run.
        title: Name of the network's class.
    """

    blocks: tuple[Block, ...]
    events: tuple[FreezeEvent, ...]
    phases: tuple[PhaseCost, ...]
    baseline_flops_per_step: float
    overhead_flops: float
    overhead_seconds: float
    n_steps: int
    total_steps: int
    title: str = ""

    @property
    def baseline_seconds_per_step(self) -> float:
        """Median time of a step before anything froze; NaN if none was timed, as in a run resumed without it."""
        return next((p.seconds_per_step for p in self.phases if p.n_frozen == 0), math.nan)

    @property
    def seconds_saved(self) -> float:
        """Time of the steps with nothing frozen, minus the time they took and the time of freezing itself."""
        saved = [
            phase.n_steps * (self.baseline_seconds_per_step - phase.seconds_per_step)
            for phase in self.phases
            if not math.isnan(phase.seconds_per_step)
        ]
        return sum(saved) - self.overhead_seconds

    @property
    def share_of_seconds_saved(self) -> float:
        """Share of the time of all steps with nothing frozen; below 0 if freezing cost more than it saved."""
        return self.seconds_saved / (self.baseline_seconds_per_step * self.n_steps) if self.n_steps else math.nan

    @property
    def flops_saved(self) -> float:
        """Floating-point operations saved, in the same way."""
        saved = [phase.n_steps * (self.baseline_flops_per_step - phase.flops_per_step) for phase in self.phases]
        return sum(saved) - self.overhead_flops

    @property
    def share_of_flops_saved(self) -> float:
        """Share of the operations of all steps with nothing frozen."""
        return self.flops_saved / (self.baseline_flops_per_step * self.n_steps) if self.n_steps else math.nan

    def to_frame(self) -> pd.DataFrame:
        """Return a row per block: name, parameters, step after which it froze (missing if it never did), reason."""
        import pandas as pd

        events = {event.block: event for event in self.events}
        rows = [
            {
                "block": block.name,
                "parameters": block.n_parameters,
                "frozen_after": events[block.name].step if block.name in events else pd.NA,
                "reason": events[block.name].reason if block.name in events else "",
            }
            for block in self.blocks
        ]
        return pd.DataFrame(rows).astype({"frozen_after": "Int64"}).set_index("block")

    def phases_to_frame(self) -> pd.DataFrame:
        """Return a row per phase: blocks frozen, steps, time and operations of a step."""
        import pandas as pd

        return pd.DataFrame(list(self.phases))

    def __str__(self) -> str:
        """Return the summary in plain words."""
        lines = [f"{self.title}, {self.n_steps:,} of {self.total_steps:,} steps"]
        events = {event.block: event for event in self.events}
        width = max(len(block.name) for block in self.blocks)
        for block in self.blocks:
            event = events.get(block.name)
            what = "learns" if event is None else f"frozen after step {event.step:,}: {event.reason}"
            lines.append(f"  {block.name:{width}}  {block.n_parameters:>12,} parameters  {what}")
        lines.append(f"  time saved: {_amount(self.seconds_saved, self.share_of_seconds_saved, ' s')}")
        lines.append(f"  floating-point operations saved: {_amount(self.flops_saved, self.share_of_flops_saved, '')}")
        lines.append(
            f"  of which freezing itself took {self.overhead_seconds:.3g} s, {self.overhead_flops:.3g} operations"
        )
        return "\n".join(lines)

    def plot(self, ax: Axes | None = None) -> tuple[Figure, Axes]:
        """Draw how long each block learned; return the figure and its axes.

        Args:
            ax: Where to draw; by default a new figure.
        """
        from svcca.plots.freezing_bars import plot_freezing_bars

        frozen_after = {event.block: event.step for event in self.events}
        shares = ((self.share_of_seconds_saved, "time"), (self.share_of_flops_saved, "operations"))
        saved = " and ".join(f"{share:.0%} of {what}" for share, what in shares if not math.isnan(share))
        return plot_freezing_bars(
            [block.name for block in self.blocks],
            [min(frozen_after.get(block.name, self.n_steps), self.n_steps) for block in self.blocks],
            n_steps=self.n_steps,
            total_steps=self.total_steps,
            title=f"{self.title}: {saved} saved" if saved else self.title,
            ax=ax,
        )


def _amount(value: float, share: float, unit: str) -> str:
    return "not measured" if math.isnan(value) else f"{value:.3g}{unit} ({share:.1%})"
