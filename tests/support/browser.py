"""Headless Chromium over its debugging pipe: no driver and no package beside the browser itself."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--remote-debugging-pipe",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)

# Longest wait for an answer, seconds: far above what a page takes, so that a busy machine is no failure.
PATIENCE = 60


# Texts whose contrast with what lies behind them is under 4.5 to 1 (WCAG 2.2, AA).
CONTRAST = """(() => {
  const linear = (v) => v / 255 <= .04045 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const colour = parts(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] > .9) return colour;
    }
    return [255, 255, 255];
  };
  const low = [];
  const texts = 'h1, h2, h3, p, a, li, td, th, button, select, dt, dd, ' +
    'label, summary, figcaption, pre, code, kbd';
  for (const node of document.querySelectorAll(texts)) {
    const style = getComputedStyle(node);
    const unseen = !node.textContent.trim() || !node.offsetParent;
    if (unseen || node.closest('.tile') || Number(style.opacity) < 1) continue;
    const [a, b] = [light(parts(style.color)), light(ground(node))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) low.push(`${node.tagName}: ${node.textContent.slice(0, 40)}`);
  }
  return low;
})()"""


# Pairs of texts that lie on one another: what each element says itself, by the boxes of its lines.
# A line box is higher than its letters, so a third of its height is nobody's.
OVERLAPS = """(() => {
  const lines = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode()); ) {
    const parent = node.parentElement;
    // What is folded has boxes too, and a table that scrolls is cut by its frame.
    const unseen = parent.closest('script, style, noscript, option, .tile, .scroll');
    if (!node.textContent.trim() || unseen || !parent.checkVisibility({ visibilityProperty: true })) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const { left, right, top, bottom, height } of range.getClientRects()) {
      if (right - left < 2 || height < 2) continue;
      const text = node.textContent.trim();
      lines.push({ left, right, top: top + height / 6, bottom: bottom - height / 6, text });
    }
  }
  const pairs = [];
  lines.forEach((a, i) => lines.slice(i + 1).forEach((b) => {
    const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (across > 1 && down > 1) pairs.push(`${a.text.slice(0, 40)} | ${b.text.slice(0, 40)}`);
  }));
  return pairs;
})()"""


def chromium() -> str | None:
    """The browser of the distribution; None without one."""
    paths = [path for name in NAMES if (path := shutil.which(name))]
    return paths[0] if paths else None


class Page:
    """One page; ``errors`` are what it wrote to the console as an error or did not catch, ``requests`` every
    address that it asked for.
    """

    def __init__(self, browser: "Browser", session: str) -> None:
        """See the class."""
        self._browser, self._session = browser, session
        self.errors: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._send(f"{domain}.enable")

    def open(self, address: str, *, size: tuple[int, int] = (1280, 900), dark: bool = False) -> None:
        """Go to an address and wait until its scripts have run."""
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._send("Emulation.setDeviceMetricsOverride", **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._send("Emulation.setEmulatedMedia", features=[scheme])
        self._send("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    def ask(self, expression: str) -> Any:
        """The value of an expression in the page; a promise is awaited."""
        answer = self._send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression: str) -> None:
        """Until an expression of the page is true."""
        end = time.monotonic() + PATIENCE
        while not self.ask(f"Boolean({expression})"):
            assert time.monotonic() < end, f"{expression} is still not true"
            self._browser.listen(0.02)

    def key(self, key: str) -> None:
        """Press and release a key."""
        text = key if len(key) == 1 else ""
        # Chromium moves the focus by the code of the key, not by its name.
        code = {"windowsVirtualKeyCode": 9} if key == "Tab" else {}
        self._send("Input.dispatchKeyEvent", type="keyDown", key=key, text=text, **code)
        self._send("Input.dispatchKeyEvent", type="keyUp", key=key, **code)

    def drag(self, points: list[tuple[float, float]]) -> None:
        """Press the mouse at the first point, move through the others and let go at the last."""
        for number, (x, y) in enumerate(points):
            kind = "mousePressed" if number == 0 else "mouseMoved"
            held = {"button": "left", "buttons": 1}
            self._send("Input.dispatchMouseEvent", type=kind, x=x, y=y, clickCount=1, **held)
            # A lasso takes no two points within some milliseconds of each other.
            self._browser.listen(0.02)
        x, y = points[-1]
        self._send("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, button="left", clickCount=1)

    def screenshot(self, path: Path, **options: Any) -> None:
        """The page as it is seen, as PNG or by ``format`` and ``quality``."""
        answer = self._send("Page.captureScreenshot", **options)
        path.write_bytes(base64.b64decode(answer["data"]))

    def event(self, method: str, values: dict[str, Any]) -> None:
        """Note what the browser tells of the page."""
        if method == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(values["exceptionDetails"]))
        elif method == "Log.entryAdded" and values["entry"]["level"] == "error":
            self.errors.append(values["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and values["type"] == "error":
            self.errors.append(json.dumps(values["args"]))

    def _send(self, method: str, **values: Any) -> dict[str, Any]:
        return self._browser.send(method, values, self._session)


class Browser:
    """A running Chromium; every message goes through two pipes, ended by a zero byte."""

    def __init__(self, binary: str, profile: Path) -> None:
        """Start it with an empty profile."""
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        command = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["bash", "-c", command, "bash", binary, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._buffer = b""
        self._number = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self._pages: dict[str, Page] = {}

    def page(self) -> Page:
        """A new empty page."""
        target = self.send("Target.createTarget", {"url": "about:blank"})["targetId"]
        attached = self.send("Target.attachToTarget", {"targetId": target, "flatten": True})
        page = Page(self, attached["sessionId"])
        self._pages[attached["sessionId"]] = page
        return page

    def send(self, method: str, values: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        """Ask the browser, and wait for its answer."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": values}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while number not in self._answers:
            assert time.monotonic() < end, f"Chromium does not answer {method}"
            self.listen(0.1)
        answer = self._answers.pop(number)
        assert "error" not in answer, answer["error"]
        result: dict[str, Any] = answer["result"]
        return result

    def listen(self, seconds: float) -> None:
        """Read what comes within some time."""
        ready, _, _ = select.select([self._in], [], [], seconds)
        if not ready:
            return
        self._buffer += os.read(self._in, 1 << 20)
        *messages, self._buffer = self._buffer.split(b"\0")
        for text in messages:
            message = json.loads(text)
            if "id" in message:
                self._answers[message["id"]] = message
            elif message.get("sessionId") in self._pages:
                self._pages[message["sessionId"]].event(message["method"], message["params"])

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)


@contextmanager
def running(binary: str) -> Iterator[Browser]:
    """A browser for some pages."""
    profile = Path(tempfile.mkdtemp())
    browser = Browser(binary, profile)
    try:
        yield browser
    finally:
        browser.close()
        shutil.rmtree(profile, ignore_errors=True)


def outside(page: Page, address: str) -> list[str]:
    """What a page asked for elsewhere than at its own address or this machine."""
    scheme = address.partition("//")[0]
    inside = (scheme, "data:", "blob:", f"{scheme}//127.0.0.1")
    return [url for url in page.requests if not url.startswith(inside)]
