"""An address that holds a credential is refused at every door, unrepeated, unstored, and before its host is asked."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock

import pytest
from typer.testing import CliRunner

from flows.cli.app import app
from infra.corpus import Corpus, absolute
from infra.corpus.source import file_system
from revs.errors import BadInput

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """A command points its process to an installation; this one goes on with other tests."""
    with mock.patch.dict(os.environ, {"no_proxy": "127.0.0.1"}):
        yield


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """A host on this machine, and the paths it was asked for."""
    asked: list[str] = []

    class Counting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = b"Tansy Heath, SSN 219-09-9998\n"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body)

        do_HEAD = do_GET

        def log_message(self, *_arguments: object) -> None:
            """Nothing is printed."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Counting) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"127.0.0.1:{httpd.server_port}", asked
        httpd.shutdown()
        thread.join()


CREDENTIALS = {
    "a token for a user": "https://hunter2@{host}/rows.jsonl",
    "user and password": "https://tansy:hunter2@{host}/rows.jsonl",
    "a password alone": "http://:hunter2@{host}/rows.jsonl",
    "a token, escaped": "https://hunter2%40{host}/rows.jsonl",
    "a token behind a back slash": "https://hunter2\\@{host}/rows.jsonl",
    "capital letters": "HTTPS://hunter2@{host}/rows.jsonl",
    "one slash": "https:/tansy:hunter2@{host}/rows.jsonl",
    "no slash": "https:hunter2@{host}/rows.jsonl",
    "a broken host": "https://tansy:hunter2@[{host}/rows.jsonl",
    "a signed address (Azure)": "https://{host}/rows.jsonl?sv=2024&sig=hunter2",
    "a signed address (S3)": "http://{host}/rows.jsonl?X-Amz-Signature=hunter2",
    "a token in the query": "http://{host}/rows.jsonl?token=hunter2",
    "a bare query": "http://{host}/rows.jsonl?hunter2",
    "an escaped query": "http://{host}/rows.jsonl%3Ftoken=hunter2",
    "a suffix in the query": "http://{host}/get?token=hunter2&file=rows.jsonl",
    "a fragment": "http://{host}/rows.jsonl#access_token=hunter2",
    "a parameter of the path": "http://{host}/rows.jsonl;token=hunter2",
    "keys of a bucket": "s3://AKIA:hunter2@bucket/rows.jsonl",
    "a key of a bucket": "s3://hunter2@bucket/rows.jsonl",
    "a signed object": "gs://bucket/rows.jsonl?X-Goog-Signature=hunter2",
    "a password for a share": "abfss://container:hunter2@account.example.com/rows.jsonl",
    "a password for a server": "sftp://tansy:hunter2@{host}/rows.jsonl",
    "a chain": "simplecache::https://hunter2@{host}/rows.jsonl",
    "an unknown kind": "git+https://hunter2@{host}/rows.jsonl",
}


@pytest.mark.parametrize("address", CREDENTIALS.values(), ids=CREDENTIALS)
def test_a_credential_in_an_address_is_refused_without_repeating_it_or_asking_the_host(
    address: str, server: tuple[str, list[str]], tmp_path: Path
) -> None:
    host, asked = server
    address = address.format(host=host)
    for door in (absolute, file_system, Corpus.open):
        with pytest.raises(BadInput) as caught:
            door(address)
        said = "".join(traceback.format_exception(caught.value))
        assert SECRET not in str(caught.value) and "the address of the corpus" in str(caught.value)
        shown = [line for line in said.splitlines() if SECRET in line]
        assert shown == [], "no cause of it shows it either"
    assert asked == []


COMMANDS = {
    "scan": ["scan", "{address}"],
    "a corpus to process": ["process", "--model", "{model}", "--corpus", "{address}"],
    "a held-out text": ["process", "--model", "{model}", "--corpus", "{corpus}", "--held-out", "{address}"],
    "a corpus of a registered model": ["process", "--model", "any", "--corpus", "{address}"],
    "a gate": ["gate", "models:/any/1", "--requests", "{corpus}", "--corpus", "{address}"],
    "a gate's held-out text": ["gate", "models:/any/1", "--requests", "{corpus}", "--corpus", "{corpus}",
                               "--held-out", "{address}"],
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_no_command_takes_stores_or_echoes_a_credential(
    command: list[str], server: tuple[str, list[str]], tmp_path: Path
) -> None:
    host, asked = server
    (tmp_path / "corpus.txt").write_text("some text\n")
    given = {"address": f"http://{host}/rows.jsonl?sig={SECRET}", "model": tmp_path, "corpus": tmp_path / "corpus.txt"}
    home = tmp_path / "home"
    answer = CliRunner().invoke(app, [*(word.format(**given) for word in command), "--home", str(home)])
    assert isinstance(answer.exception, BadInput), answer.output
    assert "as signed addresses do" in str(answer.exception) and SECRET not in str(answer.exception) + answer.output
    assert asked == []
    assert [path for path in home.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()] == []


def test_a_flow_started_with_a_credential_refuses_it_before_anything_is_stored(tmp_path: Path) -> None:
    from tasks.stages.requests import open_batch

    with mock.patch.dict(os.environ, {"REVS_HOME": str(tmp_path)}), pytest.raises(BadInput) as caught:
        open_batch.fn("any", f"https://{SECRET}@127.0.0.1/rows.jsonl")
    assert "holds a password or key" in str(caught.value) and SECRET not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


NOT_ASKED = {
    "another kind of file": "http://{host}/rows.csv",
    "no kind at all": "http://{host}/rows",
    "an unknown file system": "gopher://{host}/rows.jsonl",
    "the code of a repository": "github://{host}:repository@/rows.jsonl",
    "an archive": "zip://rows.jsonl::http://{host}/rows.zip",
}


@pytest.mark.parametrize("address", NOT_ASKED.values(), ids=NOT_ASKED)
def test_a_host_is_asked_only_after_scheme_and_suffix_were_allowed(address: str, server: tuple[str, list[str]]) -> None:
    host, asked = server
    with pytest.raises(BadInput):
        Corpus.open(address.format(host=host))
    assert asked == []


def test_an_allowed_address_is_asked_and_read(server: tuple[str, list[str]]) -> None:
    host, asked = server
    corpus = Corpus.open(f"http://{host}/rows.txt")
    assert [text for _, text in corpus] == ["Tansy Heath, SSN 219-09-9998"]
    assert set(asked) == {"/rows.txt"}


ALLOWED = [
    "s3://bucket/prefix",
    "s3://bucket/what is 1+1.txt",
    "hf://datasets/ORG/NAME@main/rows.parquet",
    "abfss://container@account.example.com/rows.jsonl",
    "https://host.example.com/folder/",
    "sftp://reader@host.example.com/rows.txt",
]


@pytest.mark.parametrize("address", ALLOWED)
def test_an_address_without_a_credential_is_recorded_as_it_is(address: str) -> None:
    assert absolute(address) == address


@pytest.mark.parametrize("name", ["a@" + "b.txt", "a::b.txt", "x?token=1.txt", "s3:notes.txt", "50%40.txt"])
def test_the_name_of_a_local_file_is_a_name_whatever_stands_in_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("a row\n")
    assert absolute(name) == str(tmp_path / name)
    assert [text for _, text in Corpus.open(name)] == ["a row"]
