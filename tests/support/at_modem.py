"""A modem that speaks AT: enough of 3GPP TS 27.007 for ModemManager to take it for one, and a test moves it about."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
from collections.abc import Callable

import msgspec

IMEI = "490154203237518"  # of the standard's own example


class Air(msgspec.Struct):
    """What the modem sees. card: "ready", "missing", "wrong", "failed", or what +CPIN? says.  pin: that opens it.

    stat: of +CREG.  act: of +COPS.  call: the answer to a call for data.
    """

    card: str = "ready"
    stat: int = 1
    act: int = 7
    operator: str = "Prueba Movil"
    code: str = "21490"
    csq: int = 20
    cesq: str = "99,99,255,255,20,50"
    power: int = 1
    pin: str = "1234"
    call: str = "CONNECT 115200"
    format: int = 0


FIXED = {
    "+CGMI": "+CGMI: Taller",
    "+GMI": "Taller",
    "+CGMM": "+CGMM: Maqueta 4G",
    "+GMM": "Maqueta 4G",
    "+CGMR": "+CGMR: 1.0",
    "+GMR": "1.0",
    "+CGSN": IMEI,
    "+GSN": IMEI,
    "+GCAP": "+GCAP: +CGSM,+DS,+ES",
    "I": "Taller Maqueta",
    "+CMEE=?": "+CMEE: (0-2)",
    "+CESQ=?": "+CESQ: (0-63,99),(0-7,99),(0-96,255),(0-49,255),(0-34,255),(0-97,255)",
    "+CREG=?": "+CREG: (0-2)",
    "+CGREG=?": "+CGREG: (0-2)",
    "+CEREG=?": "+CEREG: (0-2)",
    "+WS46=?": "+WS46: (12,22,25,28,29)",
    "+WS46?": "+WS46: 25",
    "+CGDCONT=?": '+CGDCONT: (1-16),"IP",,,(0-2),(0-3)\r\n+CGDCONT: (1-16),"IPV6",,,(0-2),(0-3)',
    "+CGDCONT?": '+CGDCONT: 1,"IP","internet.prueba","",0,0',
    "+CGACT?": "+CGACT: 1,0",
    "+IFC=?": "+IFC: (0-2),(0-2)",
    "+CLCK=?": '+CLCK: ("SC","PN","PU","PP","PC")',
    "+CSCS=?": '+CSCS: ("IRA","UCS2")',
    "+CSCS?": '+CSCS: "IRA"',
}
TAKEN = ("+CREG=", "+CGREG=", "+CEREG=", "+CFUN=", "+CGDCONT=", "+CGACT=", "+CSCS=", "+IFC=", "+COPS=3", "+COPS=0")
CARD_FAULTS = {"missing": 10, "wrong": 15, "failed": 13}
"""+CME ERROR, TS 27.007 section 9.2."""


class AtModem:
    """asked: every command that it was given, in order."""

    def __init__(self, air: Air | None = None) -> None:
        self.air = air or Air()
        self.asked: list[str] = []
        self._tell: list[Callable[[bytes], object]] = []
        self._lock = threading.Lock()

    # -- a test moves it ----------------------------------------------------------------------------------------------

    def move(self, stat: int, act: int = 7) -> None:
        """To another registration, and say so unasked."""
        self.air.stat, self.air.act = stat, act
        for name in ("CREG", "CGREG", "CEREG"):
            place = f',"1A2B","0123ABCD",{act}' if stat in (1, 5) else ""
            with self._lock:
                for tell in self._tell:
                    with contextlib.suppress(OSError):
                        tell(f"\r\n+{name}: {stat}{place}\r\n".encode())

    # -- it answers ---------------------------------------------------------------------------------------------------

    def serve(self, read: Callable[[], bytes], write: Callable[[bytes], object]) -> None:
        """Until `read` gives b"" or fails: in a thread of its own."""
        self._tell.append(write)
        left = b""
        while True:
            try:
                data = read()
            except OSError:
                return
            if not data:
                return
            *lines, left = re.split(rb"[\r\n]", left + data)
            for line in lines:
                command = line.decode("ascii", "replace").strip()
                if command:
                    self.asked.append(command)
                    with self._lock, contextlib.suppress(OSError):  # whoever asked may have left
                        write(self.reply(command).encode())

    def reply(self, command: str) -> str:
        if command.upper().startswith("ATD"):
            return f"\r\n{self.air.call}\r\n"
        said = [self._one(part) for part in _parts(command)]
        failure = next((one for one in said if one.startswith(("ERROR", "+CME ERROR"))), None)
        body = "".join(f"\r\n{one}\r\n" for one in said if one and one != failure)
        return f"{body}\r\n{failure or 'OK'}\r\n"

    def _one(self, command: str) -> str:
        air = self.air
        registered = air.stat in (1, 5)
        place = f',"1A2B","0123ABCD",{air.act}' if registered else ""
        if command in FIXED:
            return FIXED[command]
        if command in ("+CREG?", "+CGREG?", "+CEREG?"):
            return f"{command[:-1]}: 2,{air.stat}{place}"
        if command == "+COPS?":
            name = air.code if air.format == 2 else air.operator
            return f'+COPS: 0,{air.format},"{name}",{air.act}' if registered else "+COPS: 0"
        moving = {"+CFUN?": f"+CFUN: {air.power}", "+CSQ": f"+CSQ: {air.csq},99", "+CESQ": f"+CESQ: {air.cesq}"}
        if command in moving:
            return moving[command]
        if command.startswith(TAKEN):
            return self._set(command)
        if re.fullmatch(r"(|E[01]|V1|X4|Z|H|S0=0|&.*|\+CMEE=[012])", command):
            return ""
        return self._card(command)

    def _set(self, command: str) -> str:
        if command.startswith("+CFUN="):
            self.air.power = int(command[6])
        if command.startswith("+COPS=3,"):
            self.air.format = int(command[8])
        return ""

    def _card(self, command: str) -> str:
        air = self.air
        if air.card in CARD_FAULTS:
            is_the_card_s = command.startswith(("+CPIN", "+CIMI", "+CRSM", "+CCID"))
            return f"+CME ERROR: {CARD_FAULTS[air.card]}" if is_the_card_s else "ERROR"
        if command == "+CPIN?":
            return f"+CPIN: {'READY' if air.card == 'ready' else air.card}"
        if command.startswith("+CPIN="):
            if command != f'+CPIN="{air.pin}"':
                return "+CME ERROR: 16"
            air.card = "ready"
            return ""
        if command == "+CIMI":
            return f"{air.code}0000000001"
        if command.startswith("+CLCK"):
            return "+CLCK: 0"
        return "ERROR"


def _parts(command: str) -> list[str]:
    """ "AT+CREG=2;+CREG?" is two."""
    body = re.sub(r"^[Aa][Tt]", "", command)
    return [part if part.startswith("+") or not index else f"+{part}" for index, part in enumerate(body.split(";"))]


class OnSocket:
    """The modem at an abstract Unix socket, whose name holds the word itself, as ModemManager's test port has it."""

    def __init__(self, modem: AtModem, name: str) -> None:
        self._modem = modem
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(f"\0{name}")
        self._listener.listen(4)
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self._modem.serve(lambda: connection.recv(4096), connection.sendall)

    def close(self) -> None:
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


class OnPty:
    """The modem at a pseudo-terminal, as a serial port. path: of the port."""

    def __init__(self, modem: AtModem) -> None:
        self._master, slave = os.openpty()
        self.path = os.ttyname(slave)
        os.close(slave)
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=modem.serve, args=(self._read, lambda data: os.write(self._master, data)), daemon=True
        )
        self._thread.start()

    def _read(self) -> bytes:
        """While nobody has the other end open, reading fails with EIO: the port is only idle."""
        while not self._ended.is_set():
            try:
                return os.read(self._master, 4096)
            except OSError:
                self._ended.wait(0.01)
        return b""

    def close(self) -> None:
        self._ended.set()
        self._thread.join(10)
        os.close(self._master)
