"""How CometBFT asks and an application answers: ABCI 2.0 over a socket.

``application`` is what may be asked; ``server`` listens at an ``address``, cuts the stream into messages (``framing``)
and calls the application (``dispatch``). This file loads the wire contract into a descriptor pool of our own:
``messages`` holds what CometBFT and an application say to each other, ``blocks`` what blocks are made of.
Both come from ``abci.binpb``, which ``scripts/gen_protos.py`` compiles from the ``.proto`` files beside it.

The pool is private because other packages ship their own ``tendermint/abci/types.proto``, and two of them in
protobuf's default pool break each other. Descriptors, unlike generated code, do not tie us to one protobuf.
"""

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

DESCRIPTORS = Path(__file__).with_name("abci.binpb")


def _load() -> tuple[tuple[descriptor_pb2.FileDescriptorProto, ...], descriptor_pool.DescriptorPool]:
    """The files, each behind what it imports, and a pool that holds them and nothing else."""
    files = tuple(descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes()).file)
    pool = descriptor_pool.DescriptorPool()
    for file in files:
        pool.Add(file)
    return files, pool


_files, _pool = _load()


def declared_in(*packages: str) -> dict[str, Any]:
    """Every top-level message class and enum of the named protobuf packages, by its short name.

    Asked twice for the same message, it gives the same class.
    """
    found: dict[str, Any] = {}
    for file in _files:
        if file.package not in packages:
            continue
        for message in file.message_type:
            descriptor = _pool.FindMessageTypeByName(f"{file.package}.{message.name}")
            found[message.name] = message_factory.GetMessageClass(descriptor)
        for enum in file.enum_type:
            found[enum.name] = EnumTypeWrapper(_pool.FindEnumTypeByName(f"{file.package}.{enum.name}"))
    return found
