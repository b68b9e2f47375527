import asyncio
import itertools
import os
import random
import subprocess
import sys
import threading
import time

import durable

WAXWING, SCRATCH, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])
KILLS = int(os.environ.get("KILLS", "100"))
SEED = int(os.environ.get("SEED", str(random.randrange(1 << 32))))
NUMBERS = itertools.count(1)
MOST_WAITING = 400  # so that what is left at the end is delivered in seconds


class Sink:
    """A receiver that remembers when each number arrived, and from when to when each connection stood."""

    def __init__(self):
        self.arrived, self.connections = {}, []

    def run(self):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(loop.create_server(lambda: Session(self), "127.0.0.1", PORT, backlog=1024))
        threading.Thread(target=loop.run_forever, daemon=True).start()

    def stood_between(self, begin, end):
        return sum(1 for opened, closed in map(tuple, self.connections) if opened <= end and closed >= begin)


class Session(asyncio.Protocol):
    def __init__(self, sink):
        self.sink, self.buffer, self.content, self.numbers = sink, b"", False, []

    def connection_made(self, transport):
        self.transport = transport
        self.stood = [time.monotonic(), float("inf")]
        self.sink.connections.append(self.stood)
        transport.write(b"220 sink.test ESMTP\r\n")

    def connection_lost(self, _error):
        self.stood[1] = time.monotonic()

    def data_received(self, data):
        self.buffer += data
        while True:
            whole, found, rest = self.buffer.partition(b"\r\n.\r\n" if self.content else b"\r\n")
            if not found:
                return
            self.buffer = rest
            self.transport.write(self.kept() if self.content else self.reply(whole))

    def kept(self):
        self.content = False
        for number in self.numbers:
            self.sink.arrived.setdefault(number, []).append(time.monotonic())
        self.numbers = []
        return b"250 2.0.0 kept\r\n"

    def reply(self, line):
        verb = line[:4].upper()
        if verb == b"EHLO":
            return b"250-sink.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
        if verb == b"RCPT":
            self.numbers.append(int(line.split(b"<n")[1].split(b"@")[0]))
        elif verb in (b"MAIL", b"RSET"):
            self.numbers = []
        elif verb == b"DATA":
            self.content = True
            return b"354 go\r\n"
        elif verb == b"QUIT":
            self.transport.write(b"221 bye\r\n")
            self.transport.close()
            return b""
        return b"250 2.0.0 ok\r\n"


class Load:
    """Sends as long as it may; knows what was acknowledged."""

    def __init__(self, sink):
        self.sink, self.acknowledged, self.unknown, self.stop = sink, {"http": set(), "smtp": set()}, 0, False
        self.threads = [threading.Thread(target=self.send, args=(way,)) for way in ["http"] * 4 + ["smtp"] * 3]

    def waiting(self):
        return sum(map(len, self.acknowledged.values())) - len(self.sink.arrived)

    def send(self, way):
        client, mine = None, self.acknowledged[way]
        while not self.stop:
            if self.waiting() > MOST_WAITING:
                time.sleep(0.01)
                continue
            try:
                if client is None:
                    client = durable.Http(10) if way == "http" else durable.Smtp(10)
                number = next(NUMBERS)
                if client.send(f"n{number}@sink.test", "x" * 3000):
                    mine.add(number)
            except durable.BROKEN:
                self.unknown += 1
                client = None
                time.sleep(0.02)


def start(log):
    environment = os.environ | dict(pair.split("=", 1) for pair in sys.argv[4:])
    environment |= {
        "WAXWING_HTTP_LISTEN": os.environ["INTEROP_URL"].removeprefix("http://"),
        "WAXWING_API_KEY": os.environ["INTEROP_KEY"],
        "WAXWING_STORE": f"sqlite:{SCRATCH}/data",
    }
    return subprocess.Popen([WAXWING, "serve"], env=environment, cwd=SCRATCH, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def wait_ready(process):
    began = time.monotonic()
    while True:
        if process.poll() is not None:
            raise SystemExit(f"FAILED: waxwing ended by itself with {process.returncode}")
        try:
            if durable.get("/readyz")[0] == 200:
                return time.monotonic() - began
        except OSError:
            pass
        if time.monotonic() - began > 30:
            raise SystemExit("FAILED: not ready 30 s after a kill")
        time.sleep(0.02)


def main():
    print(f"SEED={SEED} KILLS={KILLS}", flush=True)
    moments = random.Random(SEED)
    sink, log = Sink(), open(f"{SCRATCH}/killed.log", "wb")
    sink.run()
    load = Load(sink)
    for thread in load.threads:
        thread.start()
    kills, starts = [], []
    process = start(log)
    try:
        for _ in range(KILLS):
            if moments.random() < 0.15:
                time.sleep(moments.uniform(0.0, 0.5))
            else:
                starts.append(wait_ready(process))
                time.sleep(moments.uniform(0.05, 1.3))
            begin = time.monotonic()
            process.kill()
            process.wait()
            time.sleep(0.05)  # what had been sent is read to its end
            kills.append((begin, time.monotonic()))
            process = start(log)
        wait_ready(process)
        load.stop = True
        for thread in load.threads:
            thread.join()
        judge(sink, load, kills, starts)
    finally:
        load.stop = True
        process.kill()
        process.wait()


def judge(sink, load, kills, starts):
    acknowledged = set().union(*load.acknowledged.values())
    deadline = time.monotonic() + 60
    while (missing := acknowledged - sink.arrived.keys()) and time.monotonic() < deadline:
        time.sleep(0.2)
    if missing:
        import api

        told = {event["recipient"] for event in api.events(durable.DOMAIN, event="failed", severity="permanent")}
        missing = {number for number in missing if f"n{number}@sink.test" not in told}
    time.sleep(2)  # for what would still come twice
    charged = [0] * len(kills)
    causeless = []
    for number, times in sink.arrived.items():
        for first, second in itertools.pairwise(times):
            guilty = next((at for at, (begin, end) in enumerate(kills) if first <= end and begin <= second), None)
            if guilty is None:
                causeless.append(number)
            else:
                charged[guilty] += 1
    open_then = [sink.stood_between(begin, end) for begin, end in kills]
    print(f"{len(kills)} kills; acknowledged: {len(load.acknowledged['http'])} by HTTP, {len(load.acknowledged['smtp'])} by SMTP;")
    print(f"in doubt (the connection broke): {load.unknown}; arrived: {len(sink.arrived)}; lost: {len(missing)};")
    print(f"arrived twice: {sum(charged)}, of {sum(open_then)} connections that were open at a kill, {max(open_then)} at most;")
    starts.sort()
    print(f"ready after a start: median {starts[len(starts) // 2]:.2f} s, slowest {starts[-1]:.2f} s")
    for way, numbers in load.acknowledged.items():
        if len(numbers) < 3 * len(kills):
            raise SystemExit(f"FAILED: only {len(numbers)} messages came in over {way}: this shows nothing")
    if missing:
        raise SystemExit(f"FAILED: acknowledged and lost: {sorted(missing)[:20]}")
    if causeless:
        raise SystemExit(f"FAILED: twice without a kill between: {causeless[:20]}")
    for at, (twice, connections) in enumerate(zip(charged, open_then)):
        if twice > connections:
            raise SystemExit(f"FAILED: kill {at}: {twice} arrived twice, {connections} connections were open")


main()
