"""
Processes of the product by fork: each is there within milliseconds, and may be killed.

Usage: python -m tests.torture.children SOCKET. Whoever connects to SOCKET has a process of his own, which says its
number first. A line, `["task", {arguments}]`, calls a function of tasks.py; another one, `{"value": …}` or
`{"raised": "…"}`, answers it. The process ends with the connection.
"""

import json
import os
import signal
import socket
import sys

import django


def main(path: str) -> None:
    django.setup()
    from providers import kinds
    from providers.sandbox import script
    from tests.torture import tasks  # noqa: F401 - read once, for all

    kinds.load()
    script.load()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                serve(connection)
                os._exit(0)
            connection.close()


def serve(connection: socket.socket) -> None:
    from tests.torture import tasks

    with connection.makefile("rw") as lines:
        lines.write(f"{os.getpid()}\n")
        lines.flush()
        for line in lines:
            name, arguments = json.loads(line)
            try:
                answer = {"value": getattr(tasks, name)(**arguments)}
            except Exception as exc:  # noqa: BLE001 - the test looks at it, whatever it is
                answer = {"raised": type(exc).__name__, "message": str(exc)}
            lines.write(json.dumps(answer) + "\n")
            lines.flush()


if __name__ == "__main__":
    main(sys.argv[1])
