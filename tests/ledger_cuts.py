"""Ways in which a zone's ledger may be cut: buckets of different numbers of slots at once."""

from hypothesis import strategies as st

Leaf = tuple[int, int]
"""A slot, and of how many it is one."""


@st.composite
def cuts(draw: st.DrawFn, slots_max: int) -> list[Leaf]:
    """Slots of different numbers that together cover a zone, without overlap."""
    leaves: list[Leaf] = []
    left: list[Leaf] = [(0, 1)]
    while left:
        slot, slots = left.pop()
        if slots < slots_max and draw(st.booleans()):
            left += [(slot, 2 * slots), (slot + slots, 2 * slots)]
        else:
            leaves.append((slot, slots))
    return leaves
