"""Merkle trees as RFC 9162 (Certificate Transparency 2.0), section 2.1, defines them, over SHA-256.

    root of none        = SHA-256("")
    root of one leaf    = SHA-256(0x00 ‖ leaf)
    root of more        = SHA-256(0x01 ‖ root of the first k ‖ root of the others), k the largest power of two below n

A root stands for all leaves and their order. That a leaf is in the tree is shown by the log₂ n roots beside its path,
that a tree is the beginning of a larger one by as many; who checks needs neither the other leaves nor a key.

Of the libraries that do this in Python one is under the GPL, others hash another tree; so this is our own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

EMPTY = sha256().digest()


def leaf(data: bytes) -> bytes:
    """Return the hash of a leaf."""
    return sha256(b"\0" + data).digest()


def node(left: bytes, right: bytes) -> bytes:
    """Return the root of a tree from the roots of its halves."""
    return sha256(b"\1" + left + right).digest()


@dataclass(slots=True)
class Tree:
    """A tree that grows: of each full subtree that it is made of, the number of leaves and the root, largest first."""

    _full: list[tuple[int, bytes]] = field(default_factory=list)

    def add(self, hashed: bytes) -> None:
        """Append a leaf, given by its hash."""
        size = 1
        while self._full and self._full[-1][0] == size:
            hashed = node(self._full.pop()[1], hashed)
            size *= 2
        self._full.append((size, hashed))

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return sum(size for size, _ in self._full)

    @property
    def root(self) -> bytes:
        """The root over the leaves so far."""
        if not self._full:
            return EMPTY
        *others, (_, found) = self._full
        for _, left in reversed(others):
            found = node(left, found)
        return found


def root(leaves: Iterable[bytes]) -> bytes:
    """Return the root over the hashes of leaves."""
    tree = Tree()
    for each in leaves:
        tree.add(each)
    return tree.root


def inclusion(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the proof that a leaf is in the tree (RFC 9162, 2.1.3.1), from the hashes of all leaves."""
    assert 0 <= index < len(leaves)
    if len(leaves) == 1:
        return []
    half = _split(len(leaves))
    if index < half:
        return [*inclusion(leaves[:half], index), root(leaves[half:])]
    return [*inclusion(leaves[half:], index - half), root(leaves[:half])]


def root_from_inclusion(hashed: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """Return the root that follows from a leaf and the proof of it (2.1.3.2); None where the proof cannot be one."""
    if not 0 <= index < size:
        return None
    number, last = index, size - 1
    for each in proof:
        if last == 0:
            return None
        if number & 1 or number == last:
            hashed = node(each, hashed)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            hashed = node(hashed, each)
        number, last = number >> 1, last >> 1
    return hashed if last == 0 else None


def consistency(leaves: Sequence[bytes], first: int) -> list[bytes]:
    """Return the proof that the first so many leaves are the beginning of the tree (2.1.4.1)."""
    assert 0 < first <= len(leaves)
    return _beginning(leaves, first, whole=True)


def _beginning(leaves: Sequence[bytes], first: int, *, whole: bool) -> list[bytes]:
    if first == len(leaves):
        return [] if whole else [root(leaves)]
    half = _split(len(leaves))
    if first <= half:
        return [*_beginning(leaves[:half], first, whole=whole), root(leaves[half:])]
    return [*_beginning(leaves[half:], first - half, whole=False), root(leaves[:half])]


def is_consistent(first: int, first_root: bytes, size: int, second_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether a proof shows that a tree of `first` leaves is the beginning of one of `size` leaves (2.1.4.2)."""
    if first == size:
        return not proof and first_root == second_root
    if not 0 < first < size or not proof:
        return False
    path = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    number, last = first - 1, size - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    mine = theirs = path[0]
    for each in path[1:]:
        if last == 0:
            return False
        if number & 1 or number == last:
            mine, theirs = node(each, mine), node(each, theirs)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            theirs = node(theirs, each)
        number, last = number >> 1, last >> 1
    return last == 0 and (mine, theirs) == (first_root, second_root)


def _split(size: int) -> int:
    """The largest power of two below a number."""
    return 1 << (size - 1).bit_length() - 1
