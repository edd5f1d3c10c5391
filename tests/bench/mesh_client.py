"""What MeshCentral's web page does, without the page: a tunnel to the device's terminal, and to a port of the device.

Every call runs the event loop until it is done; in between, nothing runs.
"""

from __future__ import annotations

import asyncio
import base64
import os
import time
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import aiohttp

from tests.bench.keys import KEYS, PAUSE_S, REMOTE, WARM_UP
from tests.bench.meshcentral import USER, MeshCentral
from tests.bench.payload import Payload
from tests.bench.processes import WITHIN_S

CHUNK_BYTES = 64 * 1024
TERMINAL = "1"


class Client:
    """Logged in."""

    def __init__(self, mesh: MeshCentral) -> None:
        self._mesh = mesh
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self.run(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._http.close())
        self._runner.close()

    def run(self, coroutine: Any) -> Any:
        return self._runner.run(coroutine)

    async def _open(self) -> None:
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False))
        login = ",".join(base64.b64encode(word.encode()).decode() for word in (USER, self._mesh.password))
        self._control = await self._http.ws_connect(f"{self._mesh.url}/control.ashx", headers={"x-meshauth": login})

    async def _cookies(self) -> dict[str, str]:
        await self._control.send_json({"action": "authcookie"})
        async with asyncio.timeout(WITHIN_S):
            while (message := await self._control.receive_json()).get("action") != "authcookie":
                pass
        cookies: dict[str, str] = message
        return cookies

    async def _tunnel(self, query: str) -> aiohttp.ClientWebSocketResponse:
        """Open, with the device at the other end."""
        tunnel = await self._http.ws_connect(f"{self._mesh.url}/meshrelay.ashx?{query}", max_msg_size=0)
        async with asyncio.timeout(WITHIN_S):
            while await tunnel.receive_str() != "c":
                pass
        return tunnel

    async def terminal(self) -> aiohttp.ClientWebSocketResponse:
        """With `REMOTE` running."""
        node, number, cookies = self._mesh.node, os.urandom(6).hex(), await self._cookies()
        path = f"*/meshrelay.ashx?p={TERMINAL}&nodeid={node}&id={number}&rauth={cookies['rcookie']}"
        await self._control.send_json({"action": "msg", "nodeid": node, "type": "tunnel", "usage": 1, "value": path})
        query = f"browser=1&p={TERMINAL}&nodeid={quote(node)}&id={number}&auth={cookies['cookie']}"
        tunnel = await self._tunnel(query)
        await tunnel.send_json({"ctrlChannel": "102938", "type": "options", "cols": 80, "rows": 25})
        await tunnel.send_str(TERMINAL)
        # Its echo, which comes before the program's own word, does not spell the word.
        await tunnel.send_bytes(REMOTE.replace("ready", "re''ady").encode() + b"\r")
        await _until(tunnel, b"ready")
        return tunnel

    async def port(self, port: int) -> aiohttp.ClientWebSocketResponse:
        """A TCP connection of the device's to a port of its own."""
        cookies = await self._cookies()
        query = f"nodeid={quote(self._mesh.node)}&tcpport={port}&auth={cookies['cookie']}&id={os.urandom(6).hex()}"
        return await self._tunnel(query)


class MeshTerminal:
    """As keys.Terminal. opened_s: how long it took until `REMOTE` ran."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.seconds: list[float] = []
        began = time.perf_counter()
        self._tunnel = client.run(client.terminal())
        self.opened_s = time.perf_counter() - began

    def warm_up(self) -> None:
        self.press(WARM_UP)
        self.seconds.clear()

    def press(self, count: int) -> None:
        self._client.run(self._press(count))

    async def _press(self, count: int) -> None:
        for number in range(count):
            await asyncio.sleep(PAUSE_S)
            key = KEYS[number % len(KEYS) :][:1]
            began = time.perf_counter()
            await self._tunnel.send_bytes(key)
            await _until(self._tunnel, key)
            self.seconds.append(time.perf_counter() - began)

    def close(self) -> None:
        self._client.run(self._tunnel.close())


async def _until(tunnel: aiohttp.ClientWebSocketResponse, word: bytes) -> None:
    said = b""
    async with asyncio.timeout(WITHIN_S):
        while word not in said:
            message = await tunnel.receive()
            if message.type is aiohttp.WSMsgType.BINARY:
                said += message.data
            elif message.type is not aiohttp.WSMsgType.TEXT:
                raise ConnectionError("MeshCentral closed the tunnel")


async def down(tunnel: aiohttp.ClientWebSocketResponse, payload: Payload) -> None:
    """From a bench.tcp_end at the device."""
    await tunnel.send_bytes(f"down {payload.size} {payload.source}\n".encode())
    left = payload.size
    with open(payload.arrived, "wb") as target:
        while left:
            left -= target.write(await tunnel.receive_bytes())


async def up(tunnel: aiohttp.ClientWebSocketResponse, payload: Payload) -> None:
    await tunnel.send_bytes(f"up {payload.size} {payload.arrived}\n".encode())
    with Path(payload.source).open("rb") as source:
        while data := source.read(CHUNK_BYTES):
            await tunnel.send_bytes(data)
    await _until(tunnel, b"done")
