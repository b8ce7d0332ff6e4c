"""Firefox without a window, driven through Marionette, which is built into it: no other program is needed.

Protocol: https://firefox-source-docs.mozilla.org/testing/marionette/Protocol.html (a length, a colon, and a JSON array), commands as in WebDriver.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

__all__ = ["FIREFOX", "Firefox"]

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Firefox:
    """One Firefox with a profile of its own."""

    def __init__(self, profile: Path, seconds: float = 120) -> None:
        assert FIREFOX is not None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        profile.mkdir()
        (profile / "user.js").write_text(f'user_pref("marionette.port", {port});\nuser_pref("datareporting.policy.dataSubmissionEnabled", false);\n')
        command = [FIREFOX, "--headless", "--no-remote", "--marionette", "--remote-allow-system-access", "--profile", str(profile)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._seconds, self._number = seconds, 0
        self._socket = self._connect(port)
        self._read()  # its greeting
        self("WebDriver:NewSession", {"timeouts": {"script": 120_000, "pageLoad": 120_000}})

    def _connect(self, port: int) -> socket.socket:
        end = time.monotonic() + self._seconds
        while True:
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=self._seconds)
            except OSError:
                assert self.process.poll() is None and time.monotonic() < end, "Firefox did not start"
                time.sleep(0.2)

    def _read(self) -> Any:
        length = b""
        while not length.endswith(b":"):
            length += self._socket.recv(1)
        data = b""
        while len(data) < int(length[:-1]):
            data += self._socket.recv(int(length[:-1]) - len(data))
        return json.loads(data)

    def __call__(self, command: str, parameters: dict[str, Any] | None = None) -> Any:
        """Send a command; its result."""
        self._number += 1
        message = json.dumps([0, self._number, command, parameters or {}]).encode()
        self._socket.sendall(f"{len(message)}:".encode() + message)
        _, _, error, result = self._read()
        assert error is None, f"{command}: {error}"
        return result.get("value") if isinstance(result, dict) else result

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns in the page."""
        return self("WebDriver:ExecuteScript", {"script": script, "args": list(arguments)})

    def goto(self, address: str) -> None:
        """Open a page."""
        self("WebDriver:Navigate", {"url": address})

    def until(self, expression: str) -> Any:
        """Wait until an expression is true in the page; its value."""
        end = time.monotonic() + self._seconds
        while not (value := self.run(f"return {expression}")):
            assert time.monotonic() < end, (expression, self.run("return document.body.innerText"))
            time.sleep(0.1)
        return value

    def element(self, selector: str) -> str:
        """The first element that fits, once it is there."""
        self.until(f"document.querySelector({selector!r})")
        found: str = self("WebDriver:FindElement", {"using": "css selector", "value": selector})[_ELEMENT]
        return found

    def click(self, selector: str) -> None:
        """Click on an element as a mouse does."""
        self("WebDriver:ElementClick", {"id": self.element(selector)})

    def type(self, selector: str, text: str) -> None:
        """Type into a field; of a field for files the paths, one a line."""
        self("WebDriver:ElementSendKeys", {"id": self.element(selector), "text": text})

    def press(self, *keys: str) -> None:
        """Press keys one after the other."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self("WebDriver:PerformActions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def drag(self, selector: str, across: int, down: int) -> None:
        """Drag an element by so many pixels."""
        origin = {_ELEMENT: self.element(selector)}
        moved = {"type": "pointerMove", "duration": 100, "x": across, "y": down, "origin": origin}
        actions = [{**moved, "x": 0, "y": 0}, {"type": "pointerDown", "button": 0}, moved, {"type": "pointerUp", "button": 0}]
        self(
            "WebDriver:PerformActions", {"actions": [{"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": actions}]}
        )

    def complaints(self, address: str) -> list[str]:
        """Errors of the scripts and styles that come from an address, since the start."""
        self("Marionette:SetContext", {"value": "chrome"})
        script = """return Services.console.getMessageArray().filter((one) => one instanceof Ci.nsIScriptError
            && !(one.flags & (Ci.nsIScriptError.warningFlag | Ci.nsIScriptError.infoFlag)) && (one.sourceName || '').startsWith(arguments[0]))
            .map((one) => `${one.sourceName}:${one.lineNumber}: ${one.errorMessage}`)"""
        found: list[str] = self.run(script, address)
        self("Marionette:SetContext", {"value": "content"})
        return found

    def close(self) -> None:
        """End it."""
        try:
            self("Marionette:Quit", {"flags": ["eForceQuit"]})
            self.process.wait(30)
        except (AssertionError, OSError, ValueError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        finally:
            self._socket.close()
