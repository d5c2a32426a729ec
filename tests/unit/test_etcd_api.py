"""etcd's API as it is read from the etcd3 package."""

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import grpc
import pytest

from enactord.stores import etcd_api
from enactord.stores.etcd_api import Service, message


def test_a_message_is_what_etcd_sends_and_takes() -> None:
    """The bytes are those of the protocol: field 1 (key) and field 2 (range_end), each with its length."""
    request = message("RangeRequest")(key=b"/a", range_end=b"/b")
    assert request.SerializeToString() == b"\x0a\x02/a\x12\x02/b"


def test_services_have_the_methods_of_etcd_and_no_others() -> None:
    with grpc.insecure_channel("127.0.0.1:1") as channel:
        assert {"Range", "Put", "DeleteRange", "Txn", "Compact"} == set(vars(Service("KV", channel)))
        with pytest.raises(AttributeError, match="no method Ranges"):
            Service("KV", channel).Ranges()
    with pytest.raises(KeyError):
        message("NoSuchRequest")


@pytest.mark.parametrize(
    "text",
    ["", "serialized_pb=_b('\\n\\tkv", "serialized_pb=_b(open('x'))\n", "serialized_pb=_b('no descriptor')\n"],
    ids=["no descriptor", "torn", "no literal", "garbled"],
)
def test_another_etcd3_is_told_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (tmp_path / "etcdrpc").mkdir()
    (tmp_path / "etcdrpc" / "kv_pb2.py").write_text(text)
    spec = ModuleSpec("etcd3", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ImportError, match=r"kv_pb2\.py has no descriptor as etcd3 0\.12 has it"):
        etcd_api._load()


def test_a_missing_etcd3_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="etcd3 is missing"):
        etcd_api._load()
