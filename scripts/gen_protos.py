"""Compiles ``abci_app/protocol``'s ``.proto`` files into one descriptor set, and writes its type stubs.

    python scripts/gen_protos.py            rewrite abci.binpb, messages.pyi and blocks.pyi
    python scripts/gen_protos.py --check    exit 1 when a committed file differs from what would be written

Only the compiler needs grpcio-tools; the stubs are made from the descriptor set alone.
"""

import argparse
import importlib
import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

PROTOCOL = Path(__file__).resolve().parent.parent / "abci_app" / "protocol"
DESCRIPTORS = PROTOCOL / "abci.binpb"
ROOT = "tendermint/abci.proto"  # Imports all others.
BLOCK_PACKAGES = ("google.protobuf", "tendermint.crypto", "tendermint.version", "tendermint.types")

_SCALARS = {
    FieldDescriptorProto.TYPE_BOOL: "bool",
    FieldDescriptorProto.TYPE_BYTES: "bytes",
    FieldDescriptorProto.TYPE_STRING: "str",
    FieldDescriptorProto.TYPE_ENUM: "int",
    FieldDescriptorProto.TYPE_INT32: "int",
    FieldDescriptorProto.TYPE_INT64: "int",
    FieldDescriptorProto.TYPE_UINT32: "int",
    FieldDescriptorProto.TYPE_UINT64: "int",
    FieldDescriptorProto.TYPE_SFIXED64: "int",
}

_HEAD = '''\
"""Written by scripts/gen_protos.py from abci.binpb: edit the .proto files instead."""
# ruff: noqa: A002, N802 - the names are the wire's and protobuf's, not ours to choose

from collections.abc import Iterable
from typing import Final

from google.protobuf.internal.containers import (
    RepeatedCompositeFieldContainer,
    RepeatedScalarFieldContainer,
)
from google.protobuf.message import Message
'''


class CompilationFailed(RuntimeError):
    """The compiler refused a ``.proto`` file; what it found is on standard error."""


def compile_protos() -> bytes:
    """The descriptor set of ``ROOT`` and all it imports, in one form whatever the compiler's version.

    Raises ImportError without grpcio-tools, CompilationFailed on a mistake in a ``.proto``.
    """
    protoc = importlib.import_module("grpc_tools.protoc")
    well_known = Path(str(protoc.__file__)).parent / "_proto"
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set.binpb"
        arguments = ["protoc", f"-I{PROTOCOL}", f"-I{well_known}", "--include_imports"]
        if protoc.main([*arguments, f"--descriptor_set_out={out}", ROOT]) != 0:
            raise CompilationFailed(ROOT)
        return _normalised(out.read_bytes())


def _normalised(compiled: bytes) -> bytes:
    """Drop what differs between compilers and matters to no reader: options, JSON names, order of files."""
    files = {file.name: file for file in FileDescriptorSet.FromString(compiled).file}
    for file in files.values():
        file.ClearField("options")
        for message in file.message_type:
            for field in message.field:
                field.ClearField("json_name")
    ordered: list[str] = []
    for name in sorted(files):
        _after_imports(name, files, ordered)
    return FileDescriptorSet(file=[files[name] for name in ordered]).SerializeToString(deterministic=True)


def _after_imports(name: str, files: dict[str, FileDescriptorProto], ordered: list[str]) -> None:
    """Append a file behind everything it imports."""
    if name in ordered:
        return
    for imported in sorted(files[name].dependency):
        _after_imports(imported, files, ordered)
    ordered.append(name)


def stubs(descriptors: bytes) -> dict[str, str]:
    """The text of ``messages.pyi`` and ``blocks.pyi`` for a descriptor set."""
    files = list(FileDescriptorSet.FromString(descriptors).file)
    of_blocks = [file for file in files if file.package in BLOCK_PACKAGES]
    of_messages = [file for file in files if file.package not in BLOCK_PACKAGES]
    return {
        "messages.pyi": _HEAD + "\nfrom . import blocks\n" + _declarations(of_messages),
        "blocks.pyi": _HEAD + _declarations(of_blocks),
    }


def _declarations(files: list[FileDescriptorProto]) -> str:
    here = {file.package for file in files}
    lines: list[str] = []
    for file in files:
        for enum in file.enum_type:
            lines += _enum(enum)
        for message in file.message_type:
            lines += _message(message, here)
    return "\n".join([*lines, ""])


def _enum(enum: EnumDescriptorProto) -> list[str]:
    return [
        "",
        f"class {enum.name}:",
        *_constants(enum),
        "    @staticmethod",
        "    def Name(number: int) -> str: ...",
        "    @staticmethod",
        "    def Value(name: str) -> int: ...",
    ]


def _constants(enum: EnumDescriptorProto) -> list[str]:
    return [f"    {value.name}: Final = {value.number}" for value in enum.value]


def _message(message: DescriptorProto, here: set[str]) -> list[str]:
    lines = ["", f"class {message.name}(Message):"]
    for enum in message.enum_type:
        lines += _constants(enum)
    parameters = []
    for field in message.field:
        held, given = _types(field, here)
        if field.type == field.TYPE_MESSAGE or field.label == field.LABEL_REPEATED:
            lines += ["    @property", f"    def {field.name}(self) -> {held}: ..."]  # Cannot be assigned.
        else:
            lines.append(f"    {field.name}: {held}")
        parameters.append(f"        {field.name}: {given} | None = None,")
    if not parameters:
        return [*lines, "    def __init__(self) -> None: ..."]
    return [*lines, "    def __init__(", "        self,", "        *,", *parameters, "    ) -> None: ..."]


def _types(field: FieldDescriptorProto, here: set[str]) -> tuple[str, str]:
    """The type of the attribute, and the type that the constructor takes for it."""
    if field.type == field.TYPE_MESSAGE:
        package, _, name = field.type_name.lstrip(".").rpartition(".")
        one = name if package in here else f"blocks.{name}"
        container = "RepeatedCompositeFieldContainer"
    else:
        one, container = _SCALARS[field.type], "RepeatedScalarFieldContainer"
    if field.label == field.LABEL_REPEATED:
        return f"{container}[{one}]", f"Iterable[{one}]"
    return one, one


def main(arguments: list[str]) -> int:
    """Write the three files, or compare them. Returns the exit status."""
    parser = argparse.ArgumentParser(description="compile the ABCI protos and write their type stubs")
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    check = parser.parse_args(arguments).check
    descriptors = compile_protos()
    wanted = {DESCRIPTORS.name: descriptors}
    wanted |= {name: text.encode() for name, text in stubs(descriptors).items()}
    stale = [name for name, body in wanted.items() if not _holds(PROTOCOL / name, body)]
    for name in stale:
        if check:
            print(f"{name} is not what scripts/gen_protos.py writes", file=sys.stderr)
        else:
            (PROTOCOL / name).write_bytes(wanted[name])
    return 1 if check and stale else 0


def _holds(path: Path, body: bytes) -> bool:
    return path.exists() and path.read_bytes() == body


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
