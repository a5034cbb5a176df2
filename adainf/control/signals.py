"""What a policy looks at, and what of it means that others take the processor from us."""

from dataclasses import dataclass, fields

__all__ = ["Signals", "contention"]


@dataclass(frozen=True, slots=True)
class Signals:
    """What a policy looks at for one frame; None is unknown.

    motion, change: share (0..1) of the picture that differs from the frame before, and from the last one recognised.
    gpu_utilization, gpu_foreign, cpu_pressure, cpu_foreign: shares of the processors (0..1).
    cpu_queue: others' threads that run or wait to, a processor.
    power_fraction: of the limit. temperature_celsius: of the processor that recognises.
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
    def of(cls, readings: object, *, motion: float | None = None, change: float | None = None) -> "Signals":
        """The signals among a box's readings, which have the same names, and those of the picture."""
        sensed = {name: getattr(readings, name) for name in _SENSED}
        return cls(motion, change, **sensed)


_SENSED = tuple(field.name for field in fields(Signals) if field.name not in ("motion", "change"))


def contention(signals: Signals) -> float | None:
    """The share of the processor that other programs take from us; None where nothing tells.

    Where a GPU does not tell whose its load is (a Jetson's, or one seen from a container), the CPU's stands for it: our
    own load, which `gpu_utilization` holds too, must not cut our budget. On the CPU others must be busy and somebody
    must wait, or others must have threads for all processors: busy others on idle processors take nothing away, and our
    own threads waiting for each other are no contention.
    """
    if signals.gpu_foreign is not None:
        return signals.gpu_foreign
    if signals.cpu_foreign is None:
        return None
    # Up to a thread for every second processor leaves us a free one.
    crowded = None if signals.cpu_queue is None else min(1.0, max(0.0, 2 * signals.cpu_queue - 1))
    told = [share for share in (signals.cpu_pressure, crowded) if share is not None]
    return min(signals.cpu_foreign, max(told)) if told else signals.cpu_foreign
