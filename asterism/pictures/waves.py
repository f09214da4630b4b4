"""The visits of a round in waves: what could run at the same time stands together."""

from asterism.pictures.record import RoundRecord, VisitRecord


def waves(decided: RoundRecord) -> list[list[VisitRecord]]:
    """Put the visits of a round in the order in which they were possible.

    A visit comes after those whose results it needs, and after the one that it took over
    from; else it stands as early as it can.
    """
    depth: dict[str, int] = {}
    found: list[list[VisitRecord]] = []
    order = {task.id: number for number, task in enumerate(decided.tasks)}
    left = sorted(decided.visits, key=lambda visit: order.get(visit.task or "", 0))
    while left:
        ready = [v for v in left if not _waits(v, left)] or left[:1]
        for visit in ready[:]:
            left.remove(visit)
            level = 1 + max((depth.get(name, -1) for name in _befores(visit)), default=-1)
            depth[visit.task or ""] = level
            if len(found) == level:
                found.append([])
            found[level].append(visit)
    return found


def _befores(visit: VisitRecord) -> list[str]:
    return [*visit.needs, visit.task or ""]


def _waits(visit: VisitRecord, left: list[VisitRecord]) -> bool:
    earlier = left[: left.index(visit)]
    same = any(other.task == visit.task for other in earlier)
    return same or any(other.task in visit.needs for other in left if other.task)
