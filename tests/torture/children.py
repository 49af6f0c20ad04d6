"""
Processes of the product by fork: each is there within milliseconds, and may be killed.

Usage: python -m tests.torture.children SOCKET [MODULE]. Whoever connects to SOCKET has a process of his own, which says
its number first. A line, `["task", {arguments}]`, calls a function of MODULE, else of tasks.py; another one,
`{"value": …}` or `{"raised": "…"}`, answers it. The process ends with the connection.
"""

import importlib
import json
import os
import signal
import socket
import sys
from pathlib import Path
from types import ModuleType

import django


def main(path: str, module: str = "tests.torture.tasks") -> None:
    django.setup()
    from providers import kinds
    from providers.sandbox import script

    tasks = importlib.import_module(module)  # read once, for all
    kinds.load()
    script.load()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{path}.new")
        listener.listen()
        Path(f"{path}.new").rename(path)  # whoever sees it may connect
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                serve(connection, tasks)
                os._exit(0)
            connection.close()


def serve(connection: socket.socket, tasks: ModuleType) -> None:
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
    main(*sys.argv[1:])
