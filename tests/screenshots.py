"""Pictures of the page of `gexsent demo`, to be looked at: `make screenshots` leaves them in .scratch/screenshots.

It needs Debian's `chromium` and `chromium-driver`, and is no test: nothing is compared. It does stop where the page asks
another host for anything.
"""

import base64
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pandas as pd

import gexsent
from gexsent.posts.fit import Choice
from gexsent.sample import faces, scripts

OUT = Path(__file__).parents[1] / ".scratch" / "screenshots"
POSTS = 120
PATIENCE = 60  # seconds


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        train(folder)
        port = free_port()
        page = [sys.executable, "-m", "gexsent", "demo", "--model", str(folder / "model"), "--port", str(port)]
        with subprocess.Popen(page) as server:
            try:
                wait_for(port)
                for name, width in (("wide", 1200), ("phone", 390)):
                    with Browser(width) as browser:
                        visit(browser, f"http://127.0.0.1:{port}", name)
            finally:
                server.terminate()


def train(folder: Path) -> None:
    """A model of the generator's posts with the tiny encoders."""
    rng, rows = random.Random(0), []
    for number in range(POSTS):
        script = scripts.write(rng)
        faces.draw(faces.Person.draw_lots(rng), script.face / 2, 96).save(folder / f"{number}.png")
        mood = "bad" if script.intensity < -0.35 else "good" if script.intensity > 0.35 else "neither"
        rows.append({"text": script.text, "image": f"{number}.png", "mood": mood, "strength": script.intensity})
    gexsent.fit(
        pd.DataFrame(rows), text="text", image="image", label=["mood", "strength"], media_root=folder, seeds=1,
        encoders=Choice("tiny-modernbert", "tiny-clip", None), cache=None, out=folder / "model",
    )  # fmt: skip


def visit(browser: "Browser", address: str, name: str) -> None:
    browser.ask("url", {"url": address})
    browser.find("//button[normalize-space()='Score']")
    browser.save(f"{name}_1_empty")
    browser.click("//button[normalize-space()='Score']")
    browser.find("//*[@role='alert']")
    browser.save(f"{name}_2_error")
    browser.click("(//table//tbody/tr | //button[contains(@class, 'gallery-item')])[1]")
    time.sleep(1)  # until the example has filled the fields
    browser.click("//button[normalize-space()='Score']")
    browser.find("//*[contains(@class, 'card')]//img")
    browser.save(f"{name}_3_scored")
    browser.click("(//input[@type='checkbox'])[4]")
    browser.find("//*[@class='before']")
    browser.save(f"{name}_4_without_a_word")
    loaded = browser.ask("execute/sync", {"script": "return performance.getEntries().map(e => e.name)", "args": []})
    foreign = [one for one in loaded if one.startswith("http") and not one.startswith(address)]
    assert not foreign, f"the page asked other hosts for {foreign}"


class Browser:
    """Headless Chromium by WebDriver's protocol, as wide as asked for."""

    def __init__(self, width: int):
        self.width, port = width, free_port()
        self.driver = subprocess.Popen(["chromedriver", f"--port={port}", "--log-level=SEVERE"])
        wait_for(port)
        self.address = f"http://127.0.0.1:{port}/session"
        device = {"deviceMetrics": {"width": width, "height": 900, "pixelRatio": 1.0}}
        arguments = ["--headless=new", "--no-sandbox", "--hide-scrollbars", "--disable-gpu"]
        options = {"goog:chromeOptions": {"args": arguments, "mobileEmulation": device}}
        started = self.ask("", {"capabilities": {"alwaysMatch": options}})
        self.address += f"/{started['sessionId']}"

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_) -> None:
        urllib.request.urlopen(urllib.request.Request(self.address, method="DELETE"), timeout=PATIENCE).close()
        self.driver.terminate()
        self.driver.wait()

    def ask(self, what: str, content: dict):
        request = urllib.request.Request(
            f"{self.address}/{what}".rstrip("/"), json.dumps(content).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)["value"]

    def find(self, path: str) -> str:
        """The element at an XPath, once it can be seen."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for element in self.ask("elements", {"using": "xpath", "value": path}):
                (id_,) = element.values()
                with urllib.request.urlopen(f"{self.address}/element/{id_}/displayed") as answer:
                    if json.load(answer)["value"]:
                        return id_
            time.sleep(0.2)
        self.save("not_found")
        raise SystemExit(f"not on the page after {PATIENCE} seconds: {path}; see not_found.png")

    def click(self, path: str) -> None:
        self.ask(f"element/{self.find(path)}/click", {})

    def save(self, name: str) -> None:
        """The whole page, below the edge of the window too."""
        time.sleep(1)  # until nothing moves
        high = self.ask("execute/sync", {"script": "return document.body.scrollHeight", "args": []})
        size = {"x": 0, "y": 0, "width": self.width, "height": high, "scale": 1}
        options = {"captureBeyondViewport": True, "clip": size}
        taken = self.ask("goog/cdp/execute", {"cmd": "Page.captureScreenshot", "params": options})
        (OUT / f"{name}.png").write_bytes(base64.b64decode(taken["data"]))
        print(OUT / f"{name}.png")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def wait_for(port: int) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.2)
    raise SystemExit(f"nothing answers at port {port}")


if __name__ == "__main__":
    main()
