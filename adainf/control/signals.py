"""A policy's inputs, and the contention derived from them."""

from dataclasses import dataclass, fields
from operator import attrgetter

__all__ = ["Signals", "contention"]


@dataclass(frozen=True, slots=True)
class Signals:
    """A policy's inputs for one frame; None is unknown.

    motion, change: share (0..1) of the picture that differs from the previous frame, and from the last one recognised.
    gpu_utilization, gpu_foreign, cpu_pressure, cpu_foreign: shares of the processors (0..1).
    cpu_queue: runnable threads of other programs (running or waiting) per processor.
    power_fraction: of the power limit. temperature_celsius: of the processor that runs inference.

    >>> busy = adainf.Signals(gpu_foreign=0.8)              # in place of this box's sensors
    >>> answer = model(picture, signals=busy)
    """

    motion: float | None = None
    change: float | None = None
    gpu_utilization: float | None = None
    gpu_foreign: float | None = None
    cpu_pressure: float | None = None
    cpu_foreign: float | None = None
    power_fraction: float | None = None
    temperature_celsius: float | None = None
    cpu_queue: float | None = None

    @classmethod
    def of(
        cls, readings: object, *, motion: float | None = None, change: float | None = None, on_gpu: bool = True
    ) -> "Signals":
        """Combine the box's readings, whose attributes have the same names, with the picture's motion and change.

        on_gpu: whether inference runs on the GPU; otherwise the GPU's other programs take nothing from it.
        """
        sensed = list(_values_of(readings))
        if not on_gpu:
            sensed[_GPU_FOREIGN] = None
        return cls(motion, change, *sensed)


_SENSED = tuple(field.name for field in fields(Signals))[2:]  # after motion and change
_GPU_FOREIGN = _SENSED.index("gpu_foreign")
_values_of = attrgetter(*_SENSED)  # far quicker than by name, and this is done for every frame


def contention(signals: Signals) -> float | None:
    """Return the share of the processor that other programs take from this one; None where no sensor reports it.

    A GPU that does not report load per process (a Jetson's, or one seen from a container) is represented by the CPU:
    `gpu_utilization` includes this program's own load, which must not cut its budget. On the CPU, contention needs
    other programs to be busy, and either threads that wait or foreign threads on every processor. Busy programs on
    otherwise idle processors take nothing away, and this program's threads that wait for each other are no contention.
    """
    if signals.gpu_foreign is not None:
        return signals.gpu_foreign
    if signals.cpu_foreign is None:
        return None
    # Up to one foreign thread per two processors leaves a processor free.
    crowded = None if signals.cpu_queue is None else min(1.0, max(0.0, 2 * signals.cpu_queue - 1))
    pressures = [share for share in (signals.cpu_pressure, crowded) if share is not None]
    return min(signals.cpu_foreign, max(pressures)) if pressures else signals.cpu_foreign
