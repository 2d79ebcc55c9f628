"""What `plan where=true` prints: where attention is in each network of a plan, and the maps it is given."""

from collections.abc import Iterator
from itertools import groupby

from cbam_ablate.models.cost import Attends, attention_places
from cbam_ablate.sweep.plan import Plan
from cbam_ablate.sweep.watch import label


def show_places(plan: Plan) -> None:
    """Prints, for each network: the modules, their maps' rows and columns, and channels."""
    shown: dict[tuple[Attends, ...], list[str]] = {}
    for cell in plan.cells:
        shown.setdefault(attention_places(cell.cfg), []).append(label(cell.axes))
    for places, labels in shown.items():
        names = list(dict.fromkeys(labels))
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        print(f"\n{'; '.join(names[:3])}{more}: {_counted(places)}")
        for line in _lines(places):
            print(f"  {line}")


def _counted(places: tuple[Attends, ...]) -> str:
    count = len(places)
    return f"attention at {count} place{'s' * (count != 1)}" if count else "no attention"


def _lines(places: tuple[Attends, ...]) -> Iterator[str]:
    width = max((len(place.module) for place in places), default=0)
    for size, same in groupby(places, lambda place: (place.rows, place.columns)):
        for place in same:
            yield f"{place.module:<{width}}  {size[0]:>4}x{size[1]:<4} {place.channels:>5} channels"
