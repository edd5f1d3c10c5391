"""A home router that says what a test wants, be it what no router should: run in a namespace as a program.

    python -m tests.support.fake_router FILE

FILE: JSON {"gateway": its address, "location": for the reply to a search or null, "pages": {"PORT PATH": [status,
headers, text]}, "actions": {"ACTION": [status, text]}}. A text of "FOREVER" never ends, one of "NEVER" never begins.
It also holds the address of a neighbour (port 80), and prints a line for each request that it gets, with who was asked.
"""

from __future__ import annotations

import http.server
import json
import socket
import sys
import threading
from pathlib import Path
from typing import Any

NEIGHBOUR = "10.9.0.7"


def say(line: str) -> None:
    print(line, flush=True)


def handler(asked: str, port: int, wanted: dict[str, Any]) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            say(f"GET {asked} {self.path}")
            status, headers, text = wanted["pages"].get(f"{port} {self.path}", [404, {}, ""])
            self.answer(status, headers, text)

        def do_POST(self) -> None:
            action = self.headers.get("SOAPAction", "").strip('"').rpartition("#")[2]
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            say(f"POST {asked} {self.path} {action} {'ok' if f'<u:{action} ' in body else 'odd'}")
            status, text = wanted["actions"].get(action, [500, "<fault/>"])
            self.answer(status, {}, text)

        def answer(self, status: int, headers: dict[str, str], text: str) -> None:
            if text == "NEVER":
                threading.Event().wait()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            while text == "FOREVER":
                self.wfile.write(b"<a>" * 4096)
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def answer_searches(wanted: dict[str, Any], address: str) -> None:
    """address: where questions come in, the gateway's own or the group's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ears:
        ears.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ears.bind((address, 1900))
        if address != wanted["gateway"]:
            member = socket.inet_aton(address) + socket.inet_aton(wanted["gateway"])
            ears.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
            mouth.bind((wanted.get("replies_from", wanted["gateway"]), 0))
            while True:
                question, sender = ears.recvfrom(2048)
                target = next((line[4:] for line in question.decode().split("\r\n") if line.startswith("ST: ")), "")
                say(f"SEARCH {address} {target}")
                reply = f"HTTP/1.1 200 OK\r\nST: {target}\r\nLOCATION: {wanted['location']}\r\n\r\n"
                mouth.sendto(reply.encode(), sender)


def main() -> None:
    wanted = json.loads(Path(sys.argv[1]).read_text())
    ports = {int(page.split(" ")[0]) for page in wanted["pages"]}
    for address, port in [*((wanted["gateway"], port) for port in sorted(ports)), (NEIGHBOUR, 80)]:
        server = http.server.ThreadingHTTPServer((address, port), handler(address, port, wanted))
        threading.Thread(target=server.serve_forever, daemon=True).start()
    if wanted.get("location"):
        heard_at = "239.255.255.250" if wanted.get("group_only") else wanted["gateway"]
        threading.Thread(target=answer_searches, args=(wanted, heard_at), daemon=True).start()
    say("there")
    sys.stdin.read()


if __name__ == "__main__":
    main()
