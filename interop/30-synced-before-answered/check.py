import json
import pathlib
import re
import sys
import threading
import time
from dataclasses import dataclass

import durable

START = re.compile(r"(\d+) +([\d.]+) (\w+)\((.*)")
RESUMED = re.compile(r"(\d+) +([\d.]+) <\.\.\. (\w+) resumed>(.*)")
READS, WRITES = {"read", "readv", "recvfrom", "recvmsg"}, {"write", "writev", "sendto", "sendmsg", "pwrite64", "pwritev"}


@dataclass
class Call:
    name: str
    text: str
    time: float  # of its begin
    begin: int  # lines of the trace: what began or ended earlier stands earlier
    end: int
    result: str


def read_trace(lines):
    calls, unfinished = [], {}
    for number, line in enumerate(lines):
        line = line.rstrip("\n")
        if found := RESUMED.match(line):
            pid, _, name, text = found.groups()
            call = unfinished.pop(pid, None)
            if call and call.name == name:
                call.text, call.end = call.text + text, number
                call.result = text.rpartition(" = ")[2]
        elif found := START.match(line):
            pid, at, name, text = found.groups()
            call = Call(name, text, float(at), number, number, text.rpartition(" = ")[2])
            calls.append(call)
            if text.endswith("<unfinished ...>"):
                call.end, call.result = sys.maxsize, ""
                unfinished[pid] = call
    return calls


def is_good(call):
    return call.result.split(" ")[0].isdigit()


def verdict(calls, sent):
    """What is wrong with how a message was acknowledged, or None."""
    peer = f"127.0.0.1:{sent['port']}]>"
    on_socket = [call for call in calls if peer in call.text.split(",", 1)[0]]
    answers = [call for call in on_socket if call.name in WRITES and call.time >= sent["at"]]
    if not answers:
        return "no answer was seen"
    answer = answers[0]
    request = [call for call in on_socket if call.name in READS and call.end < answer.begin and is_good(call)]
    if not request:
        return "no request was seen"
    # TLS reads are of ciphertext, so this is the last read before the answer, whatever it holds.
    last = request[-1]
    log = [call for call in calls if "waxwing.db-wal>" in call.text.split(",", 1)[0]]
    written = [call for call in log if call.name in WRITES and sent["mark"] in call.text and call.end < answer.begin]
    if not written:
        return "answered before the content was in the log"
    if written[0].begin < last.end:
        return "written before the request was read to its end"
    syncs = [call for call in log if call.name in ("fsync", "fdatasync")]
    # The first write is the message's own commit. A later one may hold the same page again before this answer is said.
    if not any(s.begin > written[0].end and s.end < answer.begin and s.result == "0" for s in syncs):
        return "answered before a sync of the log that began after the content was written"
    return None


def doctored(lines):
    """Traces of servers that would lose mail: each must be found wrong for every message."""
    is_sync = re.compile(r"(fsync|fdatasync)(\(| resumed)")
    yield "no sync at all", [line for line in lines if not is_sync.search(line)]
    yield "every sync fails", [
        re.sub(r"= 0$", "= -1 EIO (Input/output error)", line.rstrip()) if is_sync.search(line) else line for line in lines
    ]
    yield "another file is synced", [line.replace("-wal>", "-shm>") if is_sync.search(line) else line for line in lines]
    # Each sync as if it had begun and ended where the trace begins.
    head = [line for line in lines if is_sync.search(line)]
    yield "synced before it was written", head + [line for line in lines if not is_sync.search(line)]
    yield "synced after the answers", [line for line in lines if not is_sync.search(line)] + head


def send_one(client, number, sent):
    mark = f"mark-{number:04}-{time.time_ns()}-end"
    local = (client.socket if isinstance(client, durable.Http) else client.session.sock).getsockname()[1]
    if isinstance(client, durable.Smtp):
        # All but the final dot, so that what is answered next is the message.
        smtp = client.session
        assert smtp.mail(durable.LOGIN)[0] == 250 and smtp.rcpt(f"n{number}@sink.test")[0] == 250
        assert smtp.docmd("DATA")[0] == 354
        at = time.time()
        smtp.send(f"From: {durable.LOGIN}\r\nSubject: {mark}\r\n\r\n{mark}\r\n.\r\n")
        good = smtp.getreply()[0] == 250
    else:
        at = time.time()
        good = client.send(f"n{number}@sink.test", mark)
    assert good, "a message was refused"
    sent.append({"way": type(client).__name__, "port": local, "mark": mark, "at": at})


def send(path):
    sent = []
    http, smtp = durable.Http(), durable.Smtp()
    for number in range(6):
        time.sleep(0.7)  # idle
        send_one(smtp if number % 2 else http, number, sent)
    clients = [durable.Http() for _ in range(8)] + [durable.Smtp() for _ in range(8)]
    together = threading.Barrier(len(clients))

    def at_once(number, client):
        together.wait()
        send_one(client, number, sent)

    threads = [threading.Thread(target=at_once, args=(10 + at, client)) for at, client in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sent) == 6 + 16, f"{len(sent)} were kept"
    time.sleep(0.5)
    pathlib.Path(path).write_text(json.dumps(sent))


def judge(path, trace):
    messages = json.loads(pathlib.Path(path).read_text())
    with open(trace, encoding="utf-8", errors="replace") as file:
        lines = list(file)
    calls = read_trace(lines)
    wrong = [f"{sent['way']} {sent['mark']}: {why}" for sent in messages if (why := verdict(calls, sent))]
    if wrong:
        raise SystemExit("FAILED: " + "; ".join(wrong))
    syncs = sum(call.name in ("fsync", "fdatasync") and "-wal>" in call.text for call in calls)
    print(f"{len(messages)} messages, HTTP and SMTP, one alone and 16 at once: each synced before its answer ({syncs} syncs in all)")
    for what, changed in doctored(lines):
        changed = read_trace(changed)
        unseen = [sent["mark"] for sent in messages if verdict(changed, sent) is None]
        if unseen:
            raise SystemExit(f"FAILED: the check did not see: {what}, for {unseen}")
        print(f"  seen in a doctored trace: {what}")


send(sys.argv[2]) if sys.argv[1] == "send" else judge(sys.argv[2], sys.argv[3])
