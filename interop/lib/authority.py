"""A DNS authority for a handful of names: UDP and TCP, standard library only.

The zone is text, one record a line: `good.test MX 10 mx.good.test`, `mx.good.test A 127.0.0.11`. A name that has
records of another type is answered with no data, a name that has none with NXDOMAIN. It is read for each query.
"""

import argparse
import ipaddress
import os
import socketserver
import struct
import threading

TYPES = {"A": 1, "CNAME": 5, "SOA": 6, "MX": 15, "TXT": 16, "AAAA": 28}
OPT = 41
NXDOMAIN = 3


def name_to_wire(name):
    labels = [label.encode("ascii") for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def name_from_wire(message, offset):
    labels = []
    while message[offset]:
        length = message[offset]
        if length > 63:
            raise ValueError("a compressed name in a question")
        labels.append(message[offset + 1 : offset + 1 + length].decode("ascii").lower())
        offset += 1 + length
    return ".".join(labels), offset + 1


def data_to_wire(kind, data):
    if kind in ("A", "AAAA"):
        return ipaddress.ip_address(data).packed
    if kind == "MX":
        preference, host = data.split()
        return struct.pack("!H", int(preference)) + name_to_wire(host)
    if kind == "CNAME":
        return name_to_wire(data)
    texts = [data[at : at + 255].encode() for at in range(0, len(data), 255)]
    return b"".join(bytes([len(text)]) + text for text in texts)


def read_zone(path):
    zone = {}
    with open(path, encoding="ascii") as lines:
        for line in lines:
            if line.strip() and not line.startswith("#"):
                name, kind, data = line.strip().split(None, 2)
                zone.setdefault(name.lower().rstrip("."), []).append((kind, data_to_wire(kind, data)))
    return zone


def answer(zone, query):
    """The reply to one query, in wire format."""
    ident, flags, questions, _, _, additional = struct.unpack("!HHHHHH", query[:12])
    if flags & 0x8000 or questions != 1:
        raise ValueError("not one question")
    name, end = name_from_wire(query, 12)
    wanted, _ = struct.unpack("!HH", query[end : end + 4])
    question = query[12 : end + 4]

    records = zone.get(name)
    found = [(TYPES[kind], data) for kind, data in records or [] if TYPES[kind] == wanted or kind == "CNAME"]
    answers = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(data)) + data for kind, data in found)
    authority = b"" if found else soa(name)
    edns = b"\0" + struct.pack("!HHIH", OPT, 1232, 0, 0) if additional else b""
    code = NXDOMAIN if records is None else 0
    header = struct.pack("!HHHHHH", ident, 0x8480 | (flags & 0x0100) | code, 1, len(found), int(not found), int(bool(edns)))
    return header + question + answers + authority + edns


def soa(name):
    zone = name_to_wire(name.rsplit(".", 1)[-1])
    data = name_to_wire("ns.test") + name_to_wire("hostmaster.test") + struct.pack("!IIIII", 1, 3600, 600, 86400, 60)
    return zone + struct.pack("!HHIH", TYPES["SOA"], 1, 60, len(data)) + data


class Udp(socketserver.BaseRequestHandler):
    def handle(self):
        query, socket = self.request
        socket.sendto(answer(read_zone(self.server.zone), query), self.client_address)


class Tcp(socketserver.StreamRequestHandler):
    def handle(self):
        while header := self.rfile.read(2):
            reply = answer(read_zone(self.server.zone), self.rfile.read(*struct.unpack("!H", header)))
            self.wfile.write(struct.pack("!H", len(reply)) + reply)


class UdpServer(socketserver.ThreadingUDPServer):
    daemon_threads = True


class TcpServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


def bind_both():
    """The same port for UDP and TCP: the kernel picks one, which may be taken on the other."""
    while True:
        udp = UdpServer(("127.0.0.1", 0), Udp)
        try:
            return udp, TcpServer(udp.server_address, Tcp)
        except OSError:
            udp.server_close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zone", required=True)
    parser.add_argument("--port-file", required=True)
    arguments = parser.parse_args()
    udp, tcp = bind_both()
    udp.zone = tcp.zone = arguments.zone
    threading.Thread(target=tcp.serve_forever, daemon=True).start()
    with open(arguments.port_file + ".new", "w", encoding="ascii") as port:
        port.write(str(udp.server_address[1]))
    os.rename(arguments.port_file + ".new", arguments.port_file)
    udp.serve_forever()


if __name__ == "__main__":
    main()
