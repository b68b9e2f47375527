"""A receiver of our own for the scenarios where the peer is a client: SMTP with or without STARTTLS.

Each message is kept as a file that begins with what the receiver knows (`X-Sink-From`, `X-Sink-To`, `X-Sink-Tls`). A recipient
whose local part starts with `reject` is refused for good, with `later` for now.
"""

import argparse
import asyncio
import itertools
import pathlib
import signal
import ssl

NUMBERS = itertools.count(1)


class Session(asyncio.Protocol):
    def __init__(self, options):
        self.options = options
        self.buffer = bytearray()
        self.transport = None
        self.tls = ""
        self.reset()

    def reset(self):
        self.sender, self.recipients, self.receiving = None, [], False

    def connection_made(self, transport):
        self.transport = transport
        self.reply(220, "sink.test ESMTP")

    def data_received(self, data):
        self.buffer += data
        while self.transport and not self.transport.is_closing() and (self.message() if self.receiving else self.line()):
            pass

    def reply(self, code, *lines):
        last = len(lines) - 1
        self.transport.write("".join(f"{code}{' ' if i == last else '-'}{line}\r\n" for i, line in enumerate(lines)).encode())

    def line(self):
        """Takes one command from the buffer; false when there is no whole one."""
        end = self.buffer.find(b"\r\n")
        if end < 0:
            return False
        command = self.buffer[:end].decode("utf-8", "replace")
        del self.buffer[: end + 2]
        verb, _, rest = command.partition(" ")
        handler = getattr(self, "on_" + verb.lower(), None)
        if handler is None:
            self.reply(500, "5.5.2 what?")
        else:
            handler(rest)
        return True

    def on_ehlo(self, _name):
        self.reset()
        offer = ["sink.test", "PIPELINING", "ENHANCEDSTATUSCODES", "SIZE 104857600"]
        offer += [] if self.options.seven_bit else ["8BITMIME", "SMTPUTF8"]
        self.reply(250, *offer, *(["STARTTLS"] if self.options.context and not self.tls else []))

    on_helo = on_ehlo

    def on_mail(self, rest):
        self.sender = address(rest)
        self.reply(250, "2.1.0 ok")

    def on_rcpt(self, rest):
        recipient = address(rest)
        if recipient.startswith("reject"):
            self.reply(550, "5.1.1 no such user")
        elif recipient.startswith("later"):
            self.reply(451, "4.2.1 not now")
        else:
            self.recipients.append(recipient)
            self.reply(250, "2.1.5 ok")

    def on_data(self, _rest):
        if not self.recipients:
            self.reply(503, "5.5.1 no recipients")
        else:
            self.receiving = True
            self.reply(354, "go ahead")

    def message(self):
        """Takes one message from the buffer; false when its final dot is not there yet."""
        end = 0 if self.buffer.startswith(b".\r\n") else self.buffer.find(b"\r\n.\r\n") + 2
        if end == 1:
            return False
        self.keep(bytes(self.buffer[:end]))
        del self.buffer[: end + 3]
        self.reset()
        self.reply(250, "2.0.0 kept")
        return True

    def keep(self, content):
        content = (b"\r\n" + content).replace(b"\r\n.", b"\r\n")[2:]
        known = f"X-Sink-From: {self.sender}\r\nX-Sink-To: {' '.join(self.recipients)}\r\nX-Sink-Tls: {self.tls or 'no'}\r\n"
        path = self.options.store / f"{next(NUMBERS):06}.eml"
        path.with_suffix(".new").write_bytes(known.encode() + content)
        path.with_suffix(".new").rename(path)

    def on_rset(self, _rest):
        self.reset()
        self.reply(250, "2.0.0 ok")

    def on_noop(self, _rest):
        self.reply(250, "2.0.0 ok")

    def on_quit(self, _rest):
        self.reply(221, "2.0.0 bye")
        self.transport.close()

    def on_starttls(self, _rest):
        if not self.options.context or self.tls:
            return self.reply(503, "5.5.1 not offered")
        self.reply(220, "2.0.0 go ahead")
        plain, self.transport = self.transport, None
        self.buffer.clear()
        asyncio.get_running_loop().create_task(self.upgrade(plain))

    async def upgrade(self, plain):
        try:
            self.transport = await asyncio.get_running_loop().start_tls(plain, self, self.options.context, server_side=True)
        except (OSError, asyncio.CancelledError):
            plain.abort()
            return
        self.tls = self.transport.get_extra_info("cipher")[1]
        self.reset()
        self.data_received(b"")


def address(rest):
    return rest.partition("<")[2].partition(">")[0]


async def serve(options):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Session(options), options.host, options.port, backlog=1024)
    port_file = pathlib.Path(options.port_file)
    port_file.with_suffix(".new").write_text(str(server.sockets[0].getsockname()[1]))
    port_file.with_suffix(".new").rename(port_file)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--port-file", required=True)
    parser.add_argument("--certificate", help="PEM file; with --key: offer STARTTLS")
    parser.add_argument("--key")
    parser.add_argument("--seven-bit", action="store_true", help="offer neither 8BITMIME nor SMTPUTF8")
    parser.add_argument("--store", type=pathlib.Path, required=True)
    options = parser.parse_args()
    options.context = None
    if options.certificate:
        options.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        options.context.load_cert_chain(options.certificate, options.key)
    asyncio.run(serve(options))


if __name__ == "__main__":
    main()
