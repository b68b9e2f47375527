"""A bounded load for script/bench: a number of messages over some connections that are kept open, then the figures.

Each connection sends its next message when the last one was answered. The receiver (sink.py) tells in its count file
what arrived and when; both clocks are the machine's monotonic one.
"""

import argparse
import asyncio
import base64
import os
import pathlib
import resource
import time

SENDER = "bench.test"
DOMAINS = 10
BOUNDARY = b"b0undary"


class Run:
    def __init__(self, arguments):
        self.messages, self.sent, self.answered, self.refused = arguments.messages, 0, 0, []
        self.finished = asyncio.get_running_loop().create_future()
        key = base64.b64encode(f"api:{os.environ['INTEROP_KEY']}".encode()).decode()
        self.head = (
            f"POST /v3/{SENDER}/messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {key}\r\n"
            f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}\r\nContent-Length: "
        ).encode()
        line = "All work and no play makes a dull message, and so on to the end of it.\r\n"
        text = (line * (arguments.size // len(line) + 1))[: arguments.size]
        self.rest = b"".join(
            field(name, value)
            for name, value in (("from", f"app@{SENDER}"), ("subject", "A message of a load"), ("text", text))
        )

    def next_request(self):
        number = self.sent
        self.sent += 1
        body = field("to", f"n{number}@d{number % DOMAINS}.test") + self.rest + b"--" + BOUNDARY + b"--\r\n"
        return self.head + str(len(body)).encode() + b"\r\n\r\n" + body


def field(name, value):
    return b"--" + BOUNDARY + f'\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


class Connection(asyncio.Protocol):
    def __init__(self, run):
        self.run, self.buffer, self.transport = run, b"", None

    def connection_made(self, transport):
        self.transport = transport
        self.send()

    def send(self):
        if self.run.sent < self.run.messages:
            self.transport.write(self.run.next_request())
        else:
            self.transport.close()

    def data_received(self, data):
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        run = self.run
        run.answered += 1
        if not head.startswith(b"HTTP/1.1 200"):
            run.refused.append(head.split(b"\r\n", 1)[0] + b" " + rest[:200])
        if run.answered == run.messages:
            run.finished.set_result(None)
        self.send()

    def connection_lost(self, _error):
        if self.run.answered < self.run.sent and not self.run.finished.done() and self.run.sent < self.run.messages:
            self.run.finished.set_exception(ConnectionError("the server closed a connection during the load"))


def processor_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_memory(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--sink-pid", type=int, required=True)
    parser.add_argument("--count-file", type=pathlib.Path, required=True)
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--patience", type=float, default=120, help="seconds without a delivery before giving up")
    arguments = parser.parse_args()

    run = Run(arguments)
    host, _, port = os.environ["INTEROP_URL"].removeprefix("http://").partition(":")
    used, sink_used, start = processor_seconds(arguments.pid), processor_seconds(arguments.sink_pid), time.monotonic()
    for _ in range(arguments.connections):
        await asyncio.get_running_loop().create_connection(lambda: Connection(run), host, int(port))
    await asyncio.wait_for(run.finished, 600)
    accepted = time.monotonic()
    if run.refused:
        raise SystemExit(f"FAILED: {len(run.refused)} of {run.messages} were refused, the first with {run.refused[0]!r}")

    total, different, last = await everything_arrived(arguments)
    await asyncio.sleep(0.5)  # recording and clean-up count
    used = processor_seconds(arguments.pid) - used
    helpers = processor_seconds(arguments.sink_pid) - sink_used
    own = resource.getrusage(resource.RUSAGE_SELF)
    helpers += own.ru_utime + own.ru_stime
    per_thousand = 1000 / run.messages
    print(f"  accepted/s                {run.messages / (accepted - start):8.0f}")
    print(f"  delivered/s               {run.messages / (last - start):8.0f}   (first request to last arrival)")
    print(f"  CPU seconds per 1000      {used * per_thousand:8.2f}   (generator and receiver beside it: {helpers * per_thousand:.2f})")
    print(f"  peak RSS                  {peak_memory(arguments.pid):8.0f} MiB")
    print(f"  delivered twice           {total - different:8}")


async def everything_arrived(arguments):
    seen, since = -1, time.monotonic()
    while True:
        total, different, last = arguments.count_file.read_text().split()
        if int(different) == arguments.messages:
            return int(total), int(different), float(last)
        if int(different) != seen:
            seen, since = int(different), time.monotonic()
        if time.monotonic() - since > arguments.patience:
            raise SystemExit(f"FAILED: {different} of {arguments.messages} arrived, and no more came")
        await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(main())
