"""A page that is followed from top to bottom: one shell, the files that the page says to write, and a browser."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType

import requests

from tests.documentation.blocks import Block, Trip
from tests.real.canaries import Canaries
from tests.real.end_user import EndUser
from tests.real.machine import BASE_DIR, until

DONE = "this block is done"
FROM_THE_CHECKOUT = (".venv", "manage.py", "examples", "docs", "node_modules", "sequin_auth", "providers")
STRICT = "fail-with-body\nshow-error\n"  # .curlrc: a refusal ends the story


class Story:
    """`changes`: what the page says, and what it is here; `port`: where the reader's own application listens."""

    def __init__(self, directory: Path, environment: dict[str, str], changes: dict[str, str], port: int) -> None:
        self.directory, self.changes, self.port = directory, changes, port
        directory.mkdir(parents=True)
        for name in FROM_THE_CHECKOUT:
            (directory / name).symlink_to(BASE_DIR / name)
        (directory / ".curlrc").write_text(STRICT)
        self.environment = environment | {"CURL_HOME": str(directory), "NO_PROXY": "*", "no_proxy": "*"}
        self.shell = subprocess.Popen(
            ["bash", "-eu", "-o", "pipefail"],
            cwd=directory,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.end_user = EndUser(Canaries())
        self.printed = ""

    def __enter__(self) -> "Story":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, traceback: TracebackType | None) -> None:
        """Whatever the page has started ends."""
        os.killpg(self.shell.pid, signal.SIGKILL)
        self.shell.wait()

    def go_on(self, part: Block | Trip) -> str:
        """What was printed."""
        if isinstance(part, Block) and part.language == "text":
            self.compare(part)
        else:
            self.printed = self.follow(part)
        return self.printed

    def compare(self, block: Block) -> None:
        """What the command before has printed, with what the page says that it prints; `…` is anything."""
        pattern = ".*".join(re.escape(piece) for piece in block.text.strip().split("…"))
        assert re.fullmatch(pattern, self.printed.strip(), re.DOTALL), f"{block} prints\n{self.printed}"

    def follow(self, part: Block | Trip) -> str:
        match part:
            case Trip():
                return self.travel(part)
            case Block(language="sh" | "bash") if "serves" in part.marks:
                return self.serve(part)
            case Block(language="sh" | "bash"):
                return self.run(part, self.here(part.text))
            case Block(language="console"):
                commands = [line[2:] for line in part.text.splitlines() if line.startswith("$ ")]
                return self.run(part, self.here("\n".join(commands)))
            case _:
                return self.write(part)

    def here(self, text: str) -> str:
        for written, here in self.changes.items():
            text = text.replace(written, here)
        return text

    def run(self, block: Block, script: str) -> str:
        assert self.shell.stdin
        if "refused" in block.marks:
            script = f"set +e\n{script}\nset -e\n"
        self.shell.stdin.write(f"{script}\necho; echo '{DONE}'\n")
        self.shell.stdin.flush()
        printed = self.read_until_done(block)
        if "refused" in block.marks:
            assert re.search(rf"error: {block.marks['refused']}\b", printed), f"{block} was not refused:\n{printed}"
        return printed

    def read_until_done(self, block: Block) -> str:
        assert self.shell.stdout
        lines: list[str] = []
        for line in self.shell.stdout:
            if line.strip() == DONE:
                return "".join(lines)
            lines.append(line)
        raise AssertionError(f"{block} ended the shell:\n{''.join(lines)[-4000:]}")

    def serve(self, block: Block) -> str:
        """It goes on until the page is over."""
        command = self.here(block.text).strip()
        printed = self.run(block, f"( {command} ) > served.log 2>&1 & served=$!")
        log = self.directory / "served.log"

        def is_there() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        until(is_there, what=f"{block} serves: {log.read_text() if log.exists() else ''}", deadline=30)
        return printed

    def write(self, block: Block) -> str:
        """The file that the page says to write; without a name it is a program, which is run."""
        name = block.marks.get("file")
        path = self.directory / (name or "program.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.here(block.text))
        if name:
            return ""
        assert block.language == "python", f"{block}: say which file it is, by file=NAME"
        how = {"cwd": self.directory, "env": self.environment, "capture_output": True, "text": True}
        done = subprocess.run([sys.executable, path.name], check=False, timeout=60, **how)  # type: ignore[call-overload]
        assert done.returncode == 0, f"{block}:\n{done.stderr}"
        return str(done.stdout)

    def travel(self, trip: Trip) -> str:
        own = f"http://127.0.0.1:{self.port}/"
        log = self.directory / "served.log"
        try:
            return self.travelled(trip, own)
        except requests.RequestException as exc:
            raise AssertionError(f"{trip}: {exc}\n{log.read_text()}") from exc

    def travelled(self, trip: Trip, own: str) -> str:
        first = self.pressed(self.here(trip.url))
        assert first.status_code < 400, first.text
        arrived = self.end_user.walk(first.headers["Location"], to=self.way_back(trip), outcome=trip.outcome)
        answer = self.end_user.browser.get(arrived, timeout=30)
        log = (self.directory / "served.log").read_text()
        assert trip.text in answer.text, f"{trip} read instead, with {answer.status_code}: {answer.text}\n{log}"
        return answer.text

    def way_back(self, trip: Trip) -> str:
        """Where the page's application takes the end user back, without the provider's slug."""
        return f"http://127.0.0.1:{self.port}/{'auth/' if '/auth/' in trip.url else ''}callback"

    def pressed(self, url: str) -> requests.Response:
        """The button of the page; that of Auth.js sends a form."""
        if "/auth/signin/" not in url:
            return self.end_user.get(url)
        origin = url.partition("/auth/")[0]
        token = self.end_user.browser.get(f"{origin}/auth/csrf", timeout=30).json()["csrfToken"]
        return self.end_user.browser.post(url, {"csrfToken": token}, allow_redirects=False, timeout=30)
