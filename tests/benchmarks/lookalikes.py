"""What a sceptic would show to a detector of personal data: things of the same look that name nobody.

Each family is a function of random digits, letters and choices to one text. They were written after the rules of
detection, to see what these take for personal data.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from functools import partial


class Draw:
    """Random pieces of a look-alike."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.one = rng.randint

    def d(self, count: int) -> str:
        return "".join(self.rng.choices(string.digits, k=count))

    def hex(self, count: int) -> str:
        return "".join(self.rng.choices("0123456789abcdef", k=count))

    def up(self, count: int) -> str:
        return "".join(self.rng.choices(string.ascii_uppercase, k=count))

    def of(self, *choices: str) -> str:
        return self.rng.choice(choices)


def version(x: Draw) -> str:
    quad = f"{x.one(1, 20)}.{x.one(0, 30)}.{x.one(0, 99)}.{x.one(0, 250)}"
    # The first half of these names stands among the labels of detection, the second does not.
    product = x.of("nginx", "openssl", "Java", "Firefox", "terraform", "Blender", "calibre", "zoom")
    return x.of(
        f"{product} {quad}",
        f"{product.lower()}-{quad}",
        f"package=={quad}",
        f"lib.so.{quad}",
        f"release {quad}",
        f"Windows 10.0.19045.{x.d(4)}",
        f"^{x.one(1, 9)}.{x.one(0, 30)}.{x.one(0, 9)}",
        f"{x.one(1, 9)}.{x.one(0, 9)}.0-beta.{x.one(1, 9)}",
        f"v{quad}",
        f"{quad}.{x.one(1, 9)}",
    )


def book(x: Draw) -> str:
    return x.of(
        f"ISBN 978{x.d(10)}",
        f"ISBN 978 {x.d(1)} {x.d(3)} {x.d(5)} {x.d(1)}",
        f"ISBN-10: {x.d(9)}X",
        f"EAN {x.d(13)}",
        f"doi:10.{x.d(4)}/s{x.d(5)}-0{x.d(2)}-{x.d(5)}-{x.d(1)}",
        f"arXiv:24{x.of('01', '05', '11')}.{x.d(5)}",
    )


def business(x: Draw) -> str:
    return x.of(
        f"PO-2024-{x.d(6)}",
        f"INV-20240517-{x.d(4)}",
        f"order #{x.d(10)}",
        f"ticket {x.d(3)}-{x.d(7)}-{x.d(7)}",
        f"case 2024-{x.d(3)}-{x.d(4)}",
        f"part no. {x.d(3)}-{x.d(3)}-{x.d(4)}",
        f"P/N {x.up(2)}{x.d(4)}-{x.d(3)}",
        f"SKU {x.d(4)}-{x.d(4)}-{x.d(2)}",
        f"VAT DE{x.d(9)}",
        f"VAT FR{x.d(2)} {x.d(9)}",
        f"policy {x.up(3)} {x.d(3)} {x.d(3)} {x.d(4)}",
        f"user_id: {x.d(10)}",
        f"id={x.d(10)}",
        f"ext. {x.d(4)}",
    )


def tracking(x: Draw) -> str:
    return x.of(
        f"9400 1{x.d(3)} {x.d(4)} {x.d(4)} {x.d(4)} {x.d(2)}",
        f"JD01{x.d(16)}",
        f"RR{x.d(9)}DE",
        f"tracking {x.d(12)}",
        f"IMEI {x.d(2)}-{x.d(6)}-{x.d(6)}-{x.d(1)}",
        f"IMEI: {x.d(15)}",
        f"ICCID 89{x.d(17)}",
        f"VIN 1HGCM{x.d(5)}{x.up(1)}{x.d(6)}",
    )


def hashed(x: Draw) -> str:
    return x.of(
        f"index {x.hex(7)}..{x.hex(7)} 100644",
        f"@@ -{x.d(3)},7 +{x.d(3)},9 @@",
        f"sha256:{x.hex(64)}",
        f"repo/app@sha256:{x.hex(12)}",
        f"merge {x.d(7)}",
        f"({x.hex(7)})",
        f"etag {x.hex(8)}-{x.hex(5)}",
        x.hex(32),
        f"0x{x.hex(8)}",
        f"{x.up(4)}{x.d(2)}{x.up(6)}{x.d(3)}==",
    )


def moment(x: Draw) -> str:
    return x.of(
        f"171{x.d(10)}",
        f"ts={x.d(10)}.{x.d(6)}",
        f"2024051{x.d(1)}T10350{x.d(1)}Z",
        f"10:35:01.{x.d(6)}",
        f"2024/05/1{x.d(1)} 10:35",
        "17-MAY-2024",
        f"5/1{x.d(1)}/24",
        f"2024-05-1{x.d(1)} 10:35:01,{x.d(3)}",
        f"1{x.d(1)}.05.2024 - 2{x.d(1)}.06.2024",
        "9:00-17:30",
        f"199{x.d(1)}-200{x.d(1)}",
        f"2024-W{x.one(10, 52)}-{x.one(1, 7)}",
    )


def amount(x: Draw) -> str:
    return x.of(
        f"{x.one(1, 9)},{x.d(3)},{x.d(3)}.{x.d(2)} EUR",
        f"€ {x.one(1, 9)}.{x.d(3)}.{x.d(3)},{x.d(2)}",
        f"{x.one(1, 9)} {x.d(3)} {x.d(3)} {x.d(3)} rows",
        f"{x.one(10, 99)} {x.d(3)} {x.d(3)} km",
        f"3.{x.d(14)}",
        f"6.{x.d(8)}e23",
        f"0.{x.d(2)} 0.{x.d(2)} 0.{x.d(2)} 0.{x.d(2)}",
        f"{x.d(2)} {x.d(2)} {x.d(2)} {x.d(2)} {x.d(2)} {x.d(2)}",
        f"{x.d(8)} bytes",
        f"{x.one(100, 999)}x{x.one(100, 999)}x{x.one(10, 99)} mm",
        f"pp. {x.d(4)}-{x.d(4)}",
    )


def place(x: Draw) -> str:
    return x.of(
        f"{x.one(1, 89)}.{x.d(6)}, -{x.one(1, 89)}.{x.d(6)}",
        f"{x.one(1, 89)}.{x.d(6)} {x.one(1, 89)}.{x.d(6)}",
        f"{x.one(1, 89)}°{x.one(10, 59)}'{x.one(10, 59)}\"N",
        f"geo:{x.one(1, 89)}.{x.d(4)},{x.one(1, 89)}.{x.d(4)}",
        f"zip {x.d(5)}-{x.d(4)}",
        f"00-1B-44-{x.d(2)}-3A-B{x.d(1)}",
        f"001b.44{x.d(2)}.3ab{x.d(1)}",
        f"{x.d(2)}:1b:{x.d(2)}:11:3a:b7",
    )


def path(x: Draw) -> str:
    return x.of(
        r"C:\Users\Public\notes.txt",
        "/usr/lib/python3.11/site-packages/numpy/core.py",
        f"src/main.rs:{x.d(3)}:{x.d(2)}",
        f"data/2024/05/17/part-{x.d(5)}.parquet",
        f"IMG_20240517_{x.d(6)}.jpg",
        f"backup-{x.d(8)}.tar.gz",
        "./run.sh",
        "~/.config/app.toml",
        "requirements.in",
        "Makefile.am",
        "index.d.ts",
    )


def shell(x: Draw) -> str:
    return x.of(
        f"root@web-0{x.d(1)}:~# ls",
        "kim@build:/srv$ make",
        "kim@web1.example.com:~$ ls",
        "git clone git@example.com:team/app.git",
        "scp notes.txt kim@web1.example.org:/srv/",
        f"ubuntu@ip-10-0-0-{x.d(2)}:~$",
        f"lodash@^{x.one(1, 9)}.{x.one(1, 30)}.{x.one(1, 30)}",
        f"@types/node@{x.one(1, 30)}.{x.one(1, 30)}.{x.one(1, 9)}",
        "@app.route",
        "@kim_roe",
    )


def program(x: Draw) -> str:
    return x.of(
        "com.example.app.Main",
        "org.example.shop",
        "java.util.List",
        "document.location.href",
        "self.model.name",
        "np.random.rand(3)",
        "this.state.info",
        "logging.info",
        "user.email.is",
        "std::net::IpAddr::V4",
        "a[::2]",
        "ns::be::ad",
        "arr[1::3]",
        f"torch.Size([{x.d(2)}, {x.d(3)}])",
        "e.target.id",
        "System.out.println",
    )


FAMILIES: dict[str, Callable[[Draw], str]] = {
    made.__name__: made
    for made in (version, book, business, tracking, hashed, moment, amount, place, path, shell, program)
}


def sceptical(rng: random.Random) -> str:
    """One look-alike of a random family."""
    return rng.choice(list(FAMILIES.values()))(Draw(rng))


def of_family(name: str, rng: random.Random) -> Callable[[], str]:
    """A source of look-alikes of one family."""
    return partial(FAMILIES[name], Draw(rng))
