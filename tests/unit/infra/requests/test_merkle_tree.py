"""The Merkle tree of RFC 9162 against its definition, written down once more as slowly as it stands there."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.requests import merkle

SIZES = st.integers(0, 200)
# The tree that the reference implementations of Certificate Transparency are tested with: leaves, and roots of the
# first so many of them.
KNOWN_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
KNOWN_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def data(size: int) -> list[bytes]:
    return [f"leaf {number}".encode() for number in range(size)]


def hashed(leaves: list[bytes]) -> list[bytes]:
    return [merkle.leaf(each) for each in leaves]


def slow_root(leaves: list[bytes]) -> bytes:
    if len(leaves) < 2:
        return sha256(b"\x00" + leaves[0]).digest() if leaves else sha256(b"").digest()
    half = max(2**power for power in range(10) if 2**power < len(leaves))
    return sha256(b"\x01" + slow_root(leaves[:half]) + slow_root(leaves[half:])).digest()


@pytest.mark.parametrize("size", range(9))
def test_the_roots_that_other_implementations_give(size: int) -> None:
    leaves = [bytes.fromhex(each) for each in KNOWN_LEAVES[:size]]
    assert merkle.root(hashed(leaves)).hex() == slow_root(leaves).hex() == KNOWN_ROOTS[size]


@pytest.mark.parametrize(
    ("index", "size", "proof"),
    [
        (0, 1, []),
        (
            0,
            8,
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
    ],
)
def test_the_proofs_that_other_implementations_give(index: int, size: int, proof: list[str]) -> None:
    leaves = hashed([bytes.fromhex(each) for each in KNOWN_LEAVES[:size]])
    assert [each.hex() for each in merkle.inclusion(leaves, index)] == proof


@given(SIZES)
@settings(deadline=None)
def test_a_tree_that_grows_has_the_root_of_the_definition_at_every_size(size: int) -> None:
    leaves, tree = data(size), merkle.Tree()
    for each in hashed(leaves):
        tree.add(each)
    assert tree.root == merkle.root(hashed(leaves)) == slow_root(leaves)


@given(st.integers(1, 200), st.data())
@settings(deadline=None)
def test_a_proof_of_inclusion_gives_the_root_and_that_of_another_leaf_place_size_or_path_does_not(
    size: int, draw: st.DataObject
) -> None:
    index = draw.draw(st.integers(0, size - 1))
    leaves = hashed(data(size))
    proof, root = merkle.inclusion(leaves, index), slow_root(data(size))
    assert merkle.root_from_inclusion(leaves[index], index, size, proof) == root
    assert len(proof) <= (size - 1).bit_length()
    assert merkle.root_from_inclusion(merkle.leaf(b"another"), index, size, proof) != root
    for other in {draw.draw(st.integers(-1, size)), index - 1, index + 1} - {index}:
        assert merkle.root_from_inclusion(leaves[index], other, size, proof) != root
    assert merkle.root_from_inclusion(leaves[index], index, size, [*proof, leaves[0]]) != root
    assert merkle.root_from_inclusion(leaves[index], index, index, proof) is None
    for place in range(len(proof)):
        assert merkle.root_from_inclusion(leaves[index], index, size, proof[:place]) != root
        changed = [*proof[:place], merkle.leaf(b"x"), *proof[place + 1 :]]
        assert merkle.root_from_inclusion(leaves[index], index, size, changed) != root


@given(st.integers(1, 200), st.data())
@settings(deadline=None)
def test_a_proof_of_consistency_holds_for_a_beginning_and_for_nothing_else(size: int, draw: st.DataObject) -> None:
    first = draw.draw(st.integers(1, size))
    leaves = hashed(data(size))
    proof, one, two = merkle.consistency(leaves, first), slow_root(data(first)), slow_root(data(size))
    assert merkle.is_consistent(first, one, size, two, proof)
    wrong = merkle.leaf(b"x")
    assert not merkle.is_consistent(first, wrong, size, two, proof)
    assert not merkle.is_consistent(first, one, size, wrong, proof)
    assert not merkle.is_consistent(first, one, size, two, [*proof, wrong])
    assert not merkle.is_consistent(0, one, size, two, proof)
    for place in range(len(proof)):
        assert not merkle.is_consistent(first, one, size, two, proof[:place])
        assert not merkle.is_consistent(first, one, size, two, [*proof[:place], wrong, *proof[place + 1 :]])
    if first < size:
        changed = [merkle.leaf(b"x"), *leaves[1:]]
        assert not merkle.is_consistent(first, one, size, merkle.root(changed), merkle.consistency(changed, first))
