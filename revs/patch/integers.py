"""Floats as ordered integers, and small integers as few bytes: what the exact forms of a patch are made of."""

from __future__ import annotations

import zlib

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from revs.errors import BadInput

_VIEWS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def ordinals(values: Float[Tensor, "*n"]) -> Int64[Tensor, "*n"]:
    """The integer of every float, such that the next larger float is the next integer; one to one, −0 is −1.

    A difference of ordinals counts units in the last place. NaN payloads and infinities have ordinals too.
    """
    view = _VIEWS[values.element_size()]
    return _fold(values.contiguous().view(view).to(torch.int64), torch.iinfo(view).max)


def from_ordinals(ordinals: Int64[Tensor, "*n"], dtype: torch.dtype) -> Float[Tensor, "*n"]:
    """The inverse of `ordinals`, for values of that dtype."""
    view = _VIEWS[torch.empty(0, dtype=dtype).element_size()]
    return _fold(ordinals, torch.iinfo(view).max).to(view).view(dtype)


def _fold(bits: Tensor, mantissa_and_exponent: int) -> Tensor:
    """Between sign-and-magnitude bits and two's complement; its own inverse."""
    return torch.where(bits < 0, bits ^ mantissa_and_exponent, bits)


def pack(integers: Int64[Tensor, "*n"]) -> UInt8[Tensor, " bytes"]:
    """The integers as bytes, small ones as few; all zeros as none.

    Signs go into the lowest bit (0, −1, 1, −2 … become 0, 1, 2, 3 …), the bytes of equal weight stand together, and
    deflate does the rest, with run lengths instead of its search for repeats: that is smaller here, and faster.
    """
    if not integers.any():
        return torch.empty(0, dtype=torch.uint8)
    unsigned = ((integers << 1) ^ (integers >> 63)).flatten().contiguous()
    planes = unsigned.view(torch.uint8).reshape(-1, 8).T  # little-endian
    low, high = (int(end) for end in unsigned.aminmax())
    width = 8 if low < 0 else -(-high.bit_length() // 8)
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
    packed = packer.compress(planes[:width].contiguous().numpy().data) + packer.flush()
    return torch.frombuffer(bytearray(packed), dtype=torch.uint8)


def unpack(packed: UInt8[Tensor, " bytes"], shape: tuple[int, ...]) -> Int64[Tensor, "*n"]:
    """The inverse of `pack`.

    Raises:
        BadInput: these bytes are not of so many integers.
    """
    count = torch.Size(shape).numel()
    if not len(packed):
        return torch.zeros(shape, dtype=torch.int64)
    try:
        raw = bytearray(zlib.decompress(packed.numpy().data))
    except zlib.error:
        raise BadInput("the packed integers of a patch are damaged; take an unchanged copy") from None
    width = len(raw) // max(count, 1)
    if not 1 <= width <= 8 or width * count != len(raw):
        raise BadInput(f"a patch has {len(raw)} bytes for {count} integers; take an unchanged copy")
    unsigned = torch.zeros(count, 8, dtype=torch.uint8)
    unsigned[:, :width] = torch.frombuffer(raw, dtype=torch.uint8).reshape(width, count).T
    wide = unsigned.view(torch.int64).flatten()
    # The shift copies the top bit, which is a digit here and not a sign: take it off again.
    return (((wide >> 1) & (2**63 - 1)) ^ -(wide & 1)).reshape(shape)
