"""Three nodes, their database, a standby of it, a receiver that counts, and what is done to them."""

import asyncio
import base64
import collections
import glob
import http.client
import os
import re
import subprocess
import sys
import threading
import time
import urllib.parse

waxwing, scratch, clusters, postgres = sys.argv[1:]
key = "key-of-the-scenario-of-nodes"
authorization = "Basic " + base64.b64encode(f"api:{key}".encode()).decode()
programs = os.path.dirname(sorted(glob.glob("/usr/lib/postgresql/*/bin/pg_basebackup"))[-1])


class Receiver:
    """Takes everything, 20 ms after its last octet, and counts."""

    def __init__(self):
        self.seen, self.port = collections.Counter(), None
        # Connections, and those of them that are in the middle of a message.
        self.open, self.most_open, self.busy, self.most_busy = 0, 0, 0, 0
        started = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self.serve(started)), daemon=True).start()
        started.wait()

    async def serve(self, started):
        server = await asyncio.start_server(self.session, "127.0.0.1", 0, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await server.serve_forever()

    async def session(self, reader, writer):
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        is_busy = False
        try:
            writer.write(b"220 mx.test ESMTP\r\n")
            while line := await reader.readline():
                verb = line[:4].upper()
                if verb == b"MAIL":
                    is_busy, self.busy = True, self.busy + 1
                    self.most_busy = max(self.most_busy, self.busy)
                if verb == b"DATA":
                    writer.write(b"354 go on\r\n")
                    content = await reader.readuntil(b"\r\n.\r\n")
                    await asyncio.sleep(0.02)
                    self.seen[re.search(rb"(?mi)^Subject: (\S+)", content).group(1).decode()] += 1
                    is_busy, self.busy = False, self.busy - 1
                    writer.write(b"250 2.0.0 taken\r\n")
                else:
                    answers = {b"EHLO": b"250-mx.test\r\n250 PIPELINING\r\n", b"QUIT": b"221 2.0.0 bye\r\n"}
                    writer.write(answers.get(verb, b"250 2.0.0 well\r\n"))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open, self.busy = self.open - 1, self.busy - is_busy
            writer.close()


def as_postgres(*command):
    somebody = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"] if os.getuid() == 0 else []
    subprocess.run([*somebody, *command], check=True, stdout=subprocess.DEVNULL, cwd="/")


def sql(name, order):
    url = f"postgres://waxwing@{urllib.parse.quote(f'{clusters}/{name}', safe='')}:5432/postgres"
    return subprocess.run(["psql", "-XAtc", order, url], check=True, capture_output=True, text=True).stdout.strip()


def control(name, *order):
    as_postgres(f"{programs}/pg_ctl", "--pgdata", f"{clusters}/{name}/data", "--wait", *order)


def make_standby():
    one, two = f"{clusters}/one", f"{clusters}/two"
    as_postgres("mkdir", "-m", "700", two)
    as_postgres(f"{programs}/pg_basebackup", "-h", one, "-U", "waxwing", "-D", f"{two}/data", "-R", "--checkpoint=fast")
    with open(f"{two}/data/postgresql.conf", "a", encoding="ascii") as settings:
        settings.write(f"unix_socket_directories = '{two}'\n")
    control("two", "--log", f"{two}/postgres.log", "start")
    # Without it a failover loses what the standby had not yet.
    sql("one", "ALTER SYSTEM SET synchronous_standby_names = '*'")
    sql("one", "SELECT pg_reload_conf()")


class Node:
    def __init__(self, number, receiver):
        folder = f"{scratch}/n{number}"
        os.mkdir(folder)
        hosts = ",".join(urllib.parse.quote(f"{clusters}/{name}", safe="") + ":5432" for name in ("one", "two"))
        with open(f"{folder}/waxwing.toml", "w", encoding="utf-8") as settings:
            settings.write(
                f'http_listen = "127.0.0.1:0"\nstore = "postgres://waxwing@{hosts}/postgres"\ndirectory = "{folder}/own"\n'
                f'api_key = "{key}"\ndeliver_to_private = ["127.0.0.0/8"]\nehlo_name = "n{number}.test"\ndnssec = "off"\n'
                f'[[routes]]\ndomain = "*"\nhost = "127.0.0.1:{receiver.port}"\n'
            )
        own_log = f"{folder}/log"
        with open(own_log, "wb") as output:
            command = [waxwing, "serve", "--config", f"{folder}/waxwing.toml"]
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 30
        while not (found := re.search(r"http_addr=(127\.0\.0\.1:\d+)", open(own_log, encoding="utf-8").read())):
            assert self.process.poll() is None and time.monotonic() < deadline, open(own_log, encoding="utf-8").read()
            time.sleep(0.05)
        self.address = found.group(1)

    def post(self, path, **form):
        connection = http.client.HTTPConnection(self.address, timeout=60)
        headers = {"Authorization": authorization, "Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", path, urllib.parse.urlencode(form), headers)
        status = connection.getresponse().status
        connection.close()
        return status


class Load:
    """Clients that send to all nodes in turn until they are stopped."""

    def __init__(self, nodes, clients=8):
        self.nodes, self.acknowledged, self.refused, self.going = nodes, [], 0, True
        self.threads = [threading.Thread(target=self.send, args=(number,)) for number in range(clients)]
        for thread in self.threads:
            thread.start()

    def send(self, client):
        number = 0
        while self.going:
            number += 1
            node, subject = self.nodes[(client + number) % len(self.nodes)], f"c{client}-{number}"
            form = {"from": "a@s.test", "to": f"r@d{number % 20}.test", "subject": subject, "text": "x" * 2000}
            try:
                status = node.post("/v3/s.test/messages", **form)
            except (OSError, http.client.HTTPException):
                status = None
            if status == 200:
                self.acknowledged.append(subject)
            else:
                assert status in (None, 503), status
                self.refused += 1
                time.sleep(0.1)

    def stop(self):
        self.going = False
        for thread in self.threads:
            thread.join()


def tell_of(missing):
    """What the database knows of those that did not arrive."""
    subjects = ", ".join(f"'{subject}'" for subject in sorted(missing))
    print(sql("two", "SELECT now(), extract(epoch FROM now())::bigint"))
    print(sql("two", "SELECT id, name, now() - seen_at, commits FROM node"))
    print(sql("two", f"SELECT m.subject, r.* FROM message m JOIN recipient r ON r.message = m.id WHERE m.subject IN ({subjects})"))
    waiting = "(SELECT destination FROM recipient WHERE due_at IS NOT NULL)"
    print(sql("two", f"SELECT * FROM destination WHERE name IN {waiting}"))
    print(sql("two", f"SELECT * FROM site WHERE name IN (SELECT site FROM destination WHERE name IN {waiting})"))
    print(sql("two", f"SELECT e.* FROM event e JOIN message m ON m.id = e.message WHERE m.subject IN ({subjects})"))


def main():
    receiver = Receiver()
    make_standby()
    nodes = [Node(number, receiver) for number in (1, 2, 3)]
    assert nodes[0].post("/v4/domains", name="s.test") == 200
    # A node that comes to others waits until they must know of it, before it takes its part of what all may have.
    time.sleep(26)
    load, allowed = Load(nodes), 0
    try:
        time.sleep(4)
        allowed += receiver.open
        nodes[2].process.kill()
        print(f"{len(load.acknowledged)} acknowledged: node 3 is killed, {receiver.open} connections are open")
        time.sleep(3)
        allowed += receiver.open
        control("one", "--mode", "immediate", "--log", f"{clusters}/one/postgres.log", "restart")
        print(f"{len(load.acknowledged)} acknowledged: the database was restarted")
        time.sleep(6)
        nodes[1].process.terminate()
        assert nodes[1].process.wait(30) == 0
        print(f"{len(load.acknowledged)} acknowledged: node 2 was stopped")
        time.sleep(3)
        before = len(load.acknowledged)
        allowed += receiver.open
        control("one", "--mode", "immediate", "stop")
        control("two", "promote")
        print(f"{before} acknowledged: the database is gone, and its standby is in its place")
        time.sleep(8)
        assert len(load.acknowledged) > before, "nothing is acknowledged by the standby"
    finally:
        load.stop()
    acknowledged, deadline = set(load.acknowledged), time.monotonic() + 90
    while missing := acknowledged - set(receiver.seen):
        if time.monotonic() > deadline:
            tell_of(missing)
            raise AssertionError(f"{len(missing)} of {len(acknowledged)} acknowledged messages are lost")
        time.sleep(0.2)
    again = sum(count - 1 for count in receiver.seen.values())
    print(
        f"{len(acknowledged)} acknowledged, {load.refused} refused, {len(receiver.seen)} arrived, {again} of them again "
        f"({allowed} connections were open when something ended); "
        f"at most {receiver.most_open} connections at once, {receiver.most_busy} in the middle of a message"
    )
    assert again <= allowed, "more came twice than connections were open"
    # One that says QUIT has no place any more; but for those, a connection has one as long as it is there.
    assert receiver.most_busy <= 10 and receiver.most_open <= 15, "more at once than a site may have"
    failures = sql("two", "SELECT count(*) FROM event WHERE kind = 'failed'")
    assert failures == "0", "a database that is away counts as a failed attempt"
    nodes[0].process.terminate()
    assert nodes[0].process.wait(30) == 0


main()
