"""A stand-in for the engine's worker: speaks its protocol, and does what a job's adapter says.

Run by the tests as a process of its own; standard library only.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

cancelled = set()
requests = []
came = threading.Condition()


def say(**event):
    sys.stdout.write(json.dumps(event, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def listen():
    for line in sys.stdin:
        request = json.loads(line)
        with came:
            if request["request"] == "cancel":
                cancelled.add(request["id"])
            else:
                requests.append(request)
            came.notify_all()
    if sys.argv[1:] == ["lingering"]:
        time.sleep(60)
    os._exit(0)


def sleep(job_id, seconds, heed=True):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if heed and job_id in cancelled:
            say(event="error", id=job_id, kind="cancelled", message="Cancelled.", log="")
            return False
        time.sleep(0.02)
    return True


def act(job_id, job):
    words = job.get("adapter", job.get("name", "")).split()
    verb, number = [*words, "", ""][:2]
    if verb == "slow" or verb == "stubborn":
        say(event="progress", id=job_id, fraction=0.25, message="half-way", seconds_left=3.0)
        say(event="metrics", id=job_id, epoch=1, epochs=4, values={"train_loss": 0.5})
        if not sleep(job_id, float(number), heed=verb == "slow"):
            return
    elif verb == "chatter":
        for step in range(int(number)):
            say(event="progress", id=job_id, fraction=step / int(number), message="on and on")
    elif verb == "notice":
        say(event="notice", id=job_id, level="warning", message="one class has one polygon")
    elif verb == "error":
        say(event="error", id=job_id, kind="input", message="labels: no", log="some.log")
        return
    elif verb == "die":
        os.kill(os.getpid(), int(number))
    elif verb == "exit":
        sys.stderr.write("Traceback (most recent call last):\nModuleNotFoundError: no torch\n\n")
        os._exit(int(number))
    elif verb == "child":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        say(event="progress", id=job_id, fraction=0, message=str(child.pid), seconds_left=None)
        os.kill(os.getpid(), signal.SIGKILL)
    elif verb == "garbage":
        sys.stdout.buffer.write(b'a library says \xff hello\n[1, 2]\n{"no": "event"}\n\n')
        sys.stdout.buffer.flush()
        say(event="result", id="another", result={"wrong": True})
        say(event="mystery", id=job_id)
    elif verb == "flood":
        while True:
            sys.stdout.write("x" * 200 + "\n")
    elif verb == "big":
        say(event="notice", id=job_id, level="info", message="ü" * 1_000_000)
    elif verb == "nothing":
        say(event="result", id=job_id, result=None)
        return
    say(event="result", id=job_id, result={"pid": os.getpid(), "job": job})


def main():
    mode = sys.argv[1] if len(sys.argv) > 1 else ""
    if mode == "broken":
        sys.stderr.write("ImportError: no engine here\n")
        sys.exit(1)
    if mode == "mute":
        time.sleep(60)
    if mode == "late":
        time.sleep(0.7)
    threading.Thread(target=listen, daemon=True).start()
    print("a library that prints while it is imported")
    version = int(mode) if mode.isdigit() else 1
    say(event="ready", protocol=version, version="0.1.0", pid=os.getpid())
    if mode == "leaving":
        # Gone after some idle time just as the first job comes.
        with came:
            came.wait_for(lambda: requests)
        marker = Path("left")
        if not marker.exists():
            marker.touch()
            os._exit(0)
    while True:
        with came:
            came.wait_for(lambda: requests)
            request = requests.pop(0)
        say(event="started", id=request["id"])
        act(request["id"], request["job"])


main()
