"""Why a peer cannot be reached is said in words, for the causes that people meet."""

import asyncio
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from client_sdk.rpc import NodeUnavailable, RpcClient
from client_sdk.unreachable import why


async def _hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _speak_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(10)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    writer.close()


def _self_signed(folder: Path) -> ssl.SSLContext:
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost", "-days", "1"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl, which makes the certificate, is not installed")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


async def _refusal(scheme: str, handler: object, context: ssl.SSLContext | None = None) -> str:
    """What is said of a server on loopback, without its address, which must be named."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=context)
    address = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, RpcClient((address,)) as rpc:
        with pytest.raises(NodeUnavailable) as refused:
            await rpc.status()
    assert refused.value.addresses == (address,)
    return refused.value.reasons[0]


def test_a_certificate_that_is_not_trusted_is_named_as_that(tmp_path):
    said = asyncio.run(_refusal("https", _hang_up, _self_signed(tmp_path)))
    assert said.startswith("its TLS certificate is not accepted: self")


def test_a_peer_that_speaks_no_tls_is_asked_whether_it_does():
    said = asyncio.run(_refusal("https", _speak_plainly))
    assert said.startswith("TLS failed: ")
    assert "does it speak TLS at all?" in said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (socket.gaierror(-2, "Name or service not known"), "its name does not resolve: Name or service not known"),
        (
            ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)"),
            "connection refused: nothing listens there",
        ),
        (ConnectionResetError(104, "reset"), "it closed the connection"),
        (OSError(113, "Connect call failed"), "No route to host"),
        (OSError("something else"), "something else"),
        (ssl.SSLError(1, "[SSL] unknown"), "TLS failed: [SSL] unknown"),
        (ValueError(), "ValueError"),
    ],
)
def test_the_systems_own_causes_are_said_in_words(error, said):
    assert why(error) == said


def test_the_cause_within_the_http_librarys_error_is_the_one_that_is_told():
    outer = OSError("Cannot connect to host h:1 ssl:default")
    outer.os_error = socket.gaierror(-3, "Temporary failure in name resolution")
    assert why(outer) == "its name does not resolve: Temporary failure in name resolution"
