"""A headless Chromium that tests drive with real events, through the DevTools protocol over a pair of pipes.

Pipes (`--remote-debugging-pipe`) need no port and no WebSocket: messages are JSON, each closed by a zero byte.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SWITCHES = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --mute-audio --autoplay-policy=no-user-gesture-required "
    "--remote-debugging-pipe"
)
SECONDS = 60.0  # for any answer: the machine may be busy
KEY_CODES = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}


class Chromium:
    """A browser with one page. Use it as a context manager.

    Args:
        profile: an empty folder.
    """

    def __init__(self, profile: Path):
        reading, writing = os.pipe(), os.pipe()  # the browser reads commands from 3 and writes to 4
        # Above 4, so that making 3 and 4 of them overwrites none.
        commands, answers = (_above_four(end) for end in (reading[0], writing[1]))

        def connect() -> None:
            os.dup2(commands, 3)
            os.dup2(answers, 4)

        command = [BROWSER, *SWITCHES.split(), f"--user-data-dir={profile}", "about:blank"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, preexec_fn=connect, close_fds=False, **quiet)
        for end in (reading[0], writing[1], commands, answers):
            os.close(end)
        self._to, self._from = reading[1], writing[0]
        self._buffer, self._number, self._session = b"", 0, None
        self.console: list[str] = []  # warnings and errors, and exceptions nobody caught
        self.requests: list[str] = []  # addresses that were asked for
        self._loaded = False
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *error) -> None:
        self.process.terminate()
        self.process.wait(20)
        os.close(self._to)
        os.close(self._from)

    def send(self, method: str, **parameters):
        """Sends a command and returns its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _receive(self) -> dict:
        end = time.monotonic() + SECONDS
        while b"\0" not in self._buffer:
            left = end - time.monotonic()
            assert left > 0 and select.select([self._from], [], [], left)[0], "the browser does not answer"
            data = os.read(self._from, 1 << 20)
            assert data, "the browser has ended"
            self._buffer += data
        raw, self._buffer = self._buffer.split(b"\0", 1)
        message = json.loads(raw)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, event: str | None, about: dict) -> None:
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Runtime.exceptionThrown":
            self.console.append(json.dumps(about["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
            self.console.append(json.dumps(about["args"]))
        elif event == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.console.append(about["entry"]["text"])
        elif event == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])

    def open(self, page: Path, width: int = 1280, height: int = 800, dark: bool = False, touch: bool = False) -> None:
        """Opens a file in a window of this size and waits until it is loaded."""
        self.console.clear()
        self.requests.clear()
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": touch}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.send("Emulation.setEmulatedMedia", features=scheme)
        self._loaded = False
        self.send("Page.navigate", url=page.absolute().as_uri())
        while not self._loaded:
            self._receive()
        self.frames(2)

    def value(self, expression: str):
        """The value of a JavaScript expression; of a promise, what it gives."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, f"{expression}: {answer.get('exceptionDetails')}"
        return answer["result"].get("value")

    def frames(self, count: int = 2) -> None:
        """Waits until something was drawn this many times."""
        wait = "new Promise(done => requestAnimationFrame(() => setTimeout(done)))"
        for _ in range(count):
            self.value(wait)

    def until(self, expression: str) -> None:
        """Waits until a JavaScript expression is true."""
        end = time.monotonic() + SECONDS
        while not self.value(expression):
            assert time.monotonic() < end, f"never: {expression}"
            time.sleep(0.05)

    def mouse(self, kind: str, x: float, y: float, **more) -> None:
        """`mouseMoved`, `mousePressed`, `mouseReleased` or `mouseWheel` at pixels of the window."""
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def move(self, x: float, y: float) -> None:
        """Moves the pointer."""
        self.mouse("mouseMoved", x, y)
        self.frames()

    def click(self, x: float, y: float) -> None:
        """Moves there and clicks."""
        self.mouse("mouseMoved", x, y)
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, x, y, button="left", clickCount=1)
        self.frames()

    def click_on(self, selector: str) -> None:
        """Clicks the middle of the first element that matches."""
        rectangle = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        x, y = self.value(f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])({rectangle})")
        self.click(x, y)

    def key(self, key: str, shift: bool = False) -> None:
        """Presses and releases a key: one letter, or a name such as `ArrowLeft`."""
        about = {"key": key, "modifiers": 8 if shift else 0}
        about["windowsVirtualKeyCode"] = KEY_CODES.get(key) or ord(key.upper())
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        self.send("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **about)
        self.send("Input.dispatchKeyEvent", type="keyUp", **about)
        self.frames()

    def type(self, text: str) -> None:
        """Types into what has the focus."""
        self.send("Input.insertText", text=text)
        self.frames()

    def screenshot(self, path: Path) -> Path:
        """Writes what is seen as a PNG."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))
        return path


def _above_four(end: int) -> int:
    import fcntl

    return fcntl.fcntl(end, fcntl.F_DUPFD, 10)
