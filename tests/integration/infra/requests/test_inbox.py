"""The inbox: real folders and a real S3 protocol; each file is taken once, whatever is cut off and when."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stored_requests import line, open_store, processes

from infra.requests import Intake, RequestStore
from infra.requests.inbox import Collected, Inbox
from infra.requests.intake import MAX_BYTES
from revs.errors import BadInput, OperationFailed

BUCKET = "requests"
SECRETS = ("219-41", "Zz1@", "customer", "Zorblatt")


class Folder:
    """A folder of a disk as an inbox."""

    def __init__(self, root: Path) -> None:
        (root / "inbox").mkdir()
        self.address, self.root = str(root / "inbox"), root / "inbox"

    def put(self, name: str, data: bytes) -> None:
        (self.root / name).write_bytes(data)

    def held(self) -> dict[str, bytes]:
        files = [path for path in self.root.rglob("*") if path.is_file()]
        return {path.relative_to(self.root).as_posix(): path.read_bytes() for path in files}


class Prefix:
    """A prefix of an object store as an inbox."""

    def __init__(self, fs: Any) -> None:
        self.address, self.root, self.fs = f"s3://{BUCKET}/in/box", f"{BUCKET}/in/box", fs

    def put(self, name: str, data: bytes) -> None:
        self.fs.pipe_file(f"{self.root}/{name}", data)

    def held(self) -> dict[str, bytes]:
        self.fs.invalidate_cache()
        return {path.removeprefix(f"{self.root}/"): self.fs.cat_file(path) for path in self.fs.find(f"{BUCKET}/in/box")}


@pytest.fixture
def prefix(aws: None) -> Iterator[Prefix]:
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    fs = s3fs.S3FileSystem()
    fs.mkdir(BUCKET)
    yield Prefix(fs)
    fs.invalidate_cache()
    fs.rm(BUCKET, recursive=True)
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Folder | Prefix:
    if request.param == "folder":
        return Folder(tmp_path)
    found: Prefix = request.getfixturevalue("prefix")
    return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RequestStore]:
    found = open_store(tmp_path)
    yield found
    found.close()


def taking(store: RequestStore) -> Callable[[bytes, str], Intake]:
    return lambda data, name: store.add_bytes(data, name=name, model="demo", models=["demo"])


def collect(place: Folder | Prefix, store: RequestStore, pause: Callable[[], None] = lambda: None, **more: Any) -> Any:
    return Inbox(place.address, pause=pause, **more).collect(taking(store))


def one(number: int, **changes: Any) -> bytes:
    return line(number, **changes).encode()


def test_good_files_are_taken_bad_ones_refused_with_a_reason_and_unfinished_ones_left(
    place: Folder | Prefix, store: RequestStore
) -> None:
    assert collect(place, store) == Collected(), "an empty one"
    place.put("a.jsonl", one(1) + b"\n" + one(2, received="Zorblatt"))
    place.put("b [*].csv", b"subject,received,type,value\ncustomer 3,2026-11-02,US_SSN,219-41-0003")
    place.put("c.jsonl", one(4, received="Zorblatt"))
    place.put("d.json", b'[{"subject": "Zorblatt"')
    unfinished = {name: one(9) for name in (".e.jsonl", "f.jsonl.part", "g.TMP", "deeper/h.jsonl")}
    if isinstance(place, Folder):
        (place.root / "deeper").mkdir()
    for name, data in unfinished.items():
        place.put(name, data)
    assert collect(place, store) == Collected(taken=2, refused=2, accepted=2, rejected=1)
    held = place.held()
    assert {name: held.pop(name) for name in unfinished} == unfinished
    assert sorted(held) == [
        *("refused/c.jsonl", "refused/c.jsonl.reason.txt", "refused/d.json", "refused/d.json.reason.txt"),
        *("taken/a.jsonl", "taken/b [*].csv"),
    ]
    reasons = [held[name].decode() for name in sorted(held) if name.endswith(".reason.txt")]
    assert "none of its 1 requests can be taken" in reasons[0] and "the file.json is not JSON from line 1" in reasons[1]
    assert all(text.count("\n") == 1 and not any(secret in text for secret in SECRETS) for text in reasons)
    assert sorted(view.status for view in store.list()) == ["received", "received", "rejected", "rejected"]
    assert collect(place, store) == Collected()


class CutOff(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("after", ["keep", "shred"])
def test_cut_off_between_storing_and_moving_the_next_look_stores_nothing_more(
    place: Folder | Prefix, store: RequestStore, after: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.put("a.jsonl", one(1))
    with monkeypatch.context() as cut:
        cut.setattr(Inbox, "_put_away", lambda *_: (_ for _ in ()).throw(CutOff))
        with pytest.raises(CutOff):
            collect(place, store, after=after)
    assert len(store.list()) == 1 and list(place.held()) == ["a.jsonl"]
    assert collect(place, store, after=after).taken == 1
    assert len(store.list()) == 1 and list(place.held()) == (["taken/a.jsonl"] if after == "keep" else [])


def test_a_process_that_is_killed_between_storing_and_moving_is_followed_by_one_that_moves(
    tmp_path: Path, store: RequestStore
) -> None:
    place = Folder(tmp_path)
    place.put("a.jsonl", one(1) + b"\n" + one(2))
    script = """
from infra.requests.inbox import Inbox
store = open_store()
def kill(*_):
    answer("stored")
    os.kill(os.getpid(), signal.SIGKILL)
Inbox._put_away = kill
inbox = Inbox(str(folder / "inbox"), pause=lambda: None)
inbox.collect(lambda data, name: store.add_bytes(data, name=name, model="demo"))
"""
    assert processes(script, tmp_path, code=-signal.SIGKILL) == ["stored"]
    assert len(store.list()) == 2 and list(place.held()) == ["a.jsonl"]
    assert collect(place, store).taken == 1
    assert len(store.list()) == 2 and list(place.held()) == ["taken/a.jsonl"]


def test_cut_off_between_copy_and_removal_in_an_object_store_the_copy_is_used(
    prefix: Prefix, store: RequestStore
) -> None:
    for name in ("a.jsonl", "taken/a.jsonl"):
        prefix.put(name, one(1))
    assert collect(prefix, store).taken == 1
    assert list(prefix.held()) == ["taken/a.jsonl"] and len(store.list()) == 1


def test_another_file_of_a_name_that_was_taken_keeps_both(place: Folder | Prefix, store: RequestStore) -> None:
    for number in (1, 2, 1):
        place.put("a.jsonl", one(number))
        assert collect(place, store).taken == 1
    held = place.held()
    assert sorted(held.values()) == [one(1), one(2)] and "taken/a.jsonl" in held
    assert len(store.list()) == 2


def test_a_file_that_changes_between_two_looks_is_left_until_it_does_not(tmp_path: Path, store: RequestStore) -> None:
    place = Folder(tmp_path)
    place.put("a.jsonl", one(1)[:20])
    place.put("b.jsonl", one(2))
    old = place.root / "b.jsonl"

    def go_on() -> None:
        place.put("a.jsonl", one(1))

    assert collect(place, store, go_on) == Collected(taken=1, left=1, accepted=1)
    assert not old.exists() and len(store.list()) == 1
    assert collect(place, store).taken == 1


def test_a_file_that_was_written_long_ago_is_looked_at_once(tmp_path: Path, store: RequestStore) -> None:
    place, paused = Folder(tmp_path), []
    place.put("a.jsonl", one(1))
    os.utime(place.root / "a.jsonl", (0, 0))
    collect(place, store, lambda: paused.append(1))
    place.put("b.jsonl", one(2))
    collect(place, store, lambda: paused.append(2))
    assert paused == [2] and len(store.list()) == 2


def test_what_is_added_while_a_file_is_stored_is_taken_the_next_time(
    place: Folder | Prefix, store: RequestStore
) -> None:
    place.put("a.jsonl", one(1))

    def take(data: bytes, name: str) -> Intake:
        place.put("a.jsonl", one(1) + b"\n" + one(2))
        return taking(store)(data, name)

    assert Inbox(place.address, pause=lambda: None).collect(take) == Collected(left=1, accepted=1)
    assert collect(place, store) == Collected(taken=1, accepted=1, duplicates=1)
    assert [view.status for view in store.list()].count("received") == 2


def test_shredding_overwrites_the_file_before_it_is_removed(tmp_path: Path, store: RequestStore) -> None:
    place = Folder(tmp_path)
    place.put("a.jsonl", one(1))
    os.link(place.root / "a.jsonl", tmp_path / "witness")
    assert collect(place, store, after="shred").taken == 1
    assert place.held() == {}
    witness = (tmp_path / "witness").read_bytes()
    assert len(witness) == len(one(1)) and b"219-41" not in witness and b"customer" not in witness


def test_links_pipes_and_huge_files_are_not_read(tmp_path: Path, store: RequestStore) -> None:
    place = Folder(tmp_path)
    (tmp_path / "elsewhere.jsonl").write_bytes(one(1))
    (place.root / "link.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")
    os.mkfifo(place.root / "pipe.jsonl")
    with (place.root / "huge.jsonl").open("wb") as file:
        file.truncate(MAX_BYTES * 1000)
    assert collect(place, store, after="shred") == Collected(refused=1)
    assert (tmp_path / "elsewhere.jsonl").read_bytes() == one(1) and not store.list()
    assert "larger than 16 MiB" in (place.root / "refused" / "huge.jsonl.reason.txt").read_text()
    assert stat.S_IMODE((place.root / "refused").stat().st_mode) == 0o700


def test_an_inbox_that_is_not_there_is_named_and_no_key_in_its_address_is(
    prefix: Prefix, tmp_path: Path, store: RequestStore
) -> None:
    nowhere = Folder(tmp_path)
    for address in (f"{nowhere.address}/none", "s3://nowhere/in"):
        with pytest.raises(OperationFailed, match="the inbox cannot be read") as caught:
            Inbox(address).collect(taking(store))
        assert "\n" not in str(caught.value)
    for address in ("s3://key:hunter2@bucket/in", "nosuch://bucket/in"):
        with pytest.raises(BadInput, match="REVS_INBOX is no folder and no address") as refused:
            Inbox(address)
        assert "hunter2" not in str(refused.value)


def test_a_store_that_fails_leaves_the_file_where_it_is(tmp_path: Path) -> None:
    place = Folder(tmp_path)
    place.put("a.jsonl", one(1))

    def down(*_: Any) -> Intake:
        raise OperationFailed("the request store cannot be used")

    with pytest.raises(OperationFailed, match="request store"):
        Inbox(place.address, pause=lambda: None).collect(down)
    assert list(place.held()) == ["a.jsonl"]


@pytest.mark.parametrize("after", ["keep", "shred"])
def test_what_is_wrong_with_one_file_stops_no_other_and_names_none(
    tmp_path: Path, store: RequestStore, after: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Folder(tmp_path)
    for number, name in enumerate(("a Zorblatt.jsonl", "b.jsonl", "c.Zorblatt")):
        place.put(name, one(number) if name != "c.Zorblatt" else b"[")
    put_away = Inbox._put_away

    def failing(self: Inbox, name: str, data: bytes) -> None:
        if name.startswith("a"):
            raise PermissionError(13, "Permission denied", name)
        put_away(self, name, data)

    with monkeypatch.context() as broken:
        broken.setattr(Inbox, "_put_away", failing)
        assert collect(place, store, after=after) == Collected(taken=1, refused=1, stuck=1, accepted=2)
    assert "Zorblatt" not in (place.root / "refused" / "c.Zorblatt.reason.txt").read_text()
    assert collect(place, store, after=after) == Collected(taken=1), "it was stored before"
    assert len(store.list()) == 2


def test_a_file_that_cannot_be_read_is_stuck(tmp_path: Path, store: RequestStore) -> None:
    place = Folder(tmp_path)
    place.put("a.jsonl", one(1))
    place.put("b.jsonl", one(2))
    inbox = Inbox(place.address, pause=lambda: None)
    open_ = inbox._fs.open

    def failing(path: str, *arguments: Any) -> Any:
        if path.endswith("a.jsonl"):
            raise PermissionError(13, "Permission denied", path)
        return open_(path, *arguments)

    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(inbox._fs, "open", failing)
        assert inbox.collect(taking(store)) == Collected(taken=1, stuck=1, accepted=1)


def test_two_looks_at_once_take_a_file_once(tmp_path: Path, store: RequestStore) -> None:
    place = Folder(tmp_path)
    place.put("a.jsonl", one(1))

    def take(data: bytes, name: str) -> Intake:  # the other one is faster
        collect(place, store)
        return taking(store)(data, name)

    assert Inbox(place.address, pause=lambda: None).collect(take).accepted == 0, "the other one has counted it"
    assert list(place.held()) == ["taken/a.jsonl"] and len(store.list()) == 1


def test_a_link_of_the_name_of_a_reason_is_not_followed(tmp_path: Path, store: RequestStore) -> None:
    """Whoever may put files there could have the program write over any file of its own."""
    place, victim = Folder(tmp_path), tmp_path / "deployment.key"
    victim.write_text("the key")
    (place.root / "refused").mkdir()
    (place.root / "refused" / "bad.csv.reason.txt").symlink_to(victim)
    place.put("bad.csv", b"nothing of ours")
    assert collect(place, store) == Collected(refused=1)
    assert victim.read_text() == "the key"
    written = place.root / "refused" / "bad.csv.reason.txt"
    assert not written.is_symlink() and "CSV header" in written.read_text()
    assert stat.S_IMODE(written.stat().st_mode) == 0o600 and stat.S_IMODE(written.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("folder", ["taken", "refused"])
def test_a_folder_that_is_a_link_takes_no_file(tmp_path: Path, store: RequestStore, folder: str) -> None:
    place, elsewhere = Folder(tmp_path), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (place.root / folder).symlink_to(elsewhere)
    place.put("a.jsonl", one(1) if folder == "taken" else b"nothing of ours")
    if folder == "taken":
        assert collect(place, store) == Collected(stuck=1, accepted=1)
    else:
        with pytest.raises(OperationFailed, match="refused/ in the inbox is a link; put a folder there"):
            collect(place, store)
    assert list(elsewhere.iterdir()) == [] and (place.root / "a.jsonl").exists()


@pytest.mark.parametrize("after", ["keep", "shred"])
def test_a_file_that_was_withdrawn_since_it_was_taken_is_neither_taken_again_nor_destroyed(
    place: Folder | Prefix, store: RequestStore, after: Any
) -> None:
    place.put("a.jsonl", one(1))
    assert collect(place, store, after=after) == Collected(taken=1, accepted=1)
    place.put("b.jsonl", one(1))
    assert collect(place, store, after=after) == Collected(taken=1), (
        "the same again adds nothing, and nothing is counted"
    )
    (request,) = store.list()
    store.withdraw(request.id, by="Ana")
    place.put("c.jsonl", one(1))
    assert collect(place, store, after=after) == Collected(refused=1)
    held = place.held()
    assert held["refused/c.jsonl"] == one(1)
    assert f"{request.id} ended withdrawn or refused" in held["refused/c.jsonl.reason.txt"].decode()
