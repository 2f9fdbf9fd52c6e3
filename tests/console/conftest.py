"""A running system with three virtual boards, and a browser whose every complaint fails the test."""

import shutil
import time

import pytest
from playwright.sync_api import expect, sync_playwright

from e2e.system import System
from fieldloom_sim.fleet import Fleet

BOARDS = ("board-1", "board-2", "board-3")
WAIT_MS = 30_000

expect.set_options(timeout=WAIT_MS)


@pytest.fixture(scope="session")
def system(tmp_path_factory):
    system = System(tmp_path_factory.mktemp("system"))
    system.fleet = Fleet(system.folder / "boards")
    system.fleet.start()
    for board in BOARDS:
        system.fleet.add(system.enrol_device(board), system.gateways, interval=500)
    yield system
    system.fleet.stop()
    system.stop()


@pytest.fixture(scope="module", autouse=True)
def boards(system):
    """They report while the console is tested, since each that reports costs time."""
    for board in BOARDS:
        system.fleet.on(board)
    yield
    for board in BOARDS:
        system.fleet.off(board)


@pytest.fixture(scope="module")
def chromium():
    """Debian's: `make setup` installs it, so without it this fails. Playwright's loop would be in others' way."""
    executable = shutil.which("chromium")
    assert executable, "chromium is missing: run `make setup`"
    with sync_playwright() as playwright:
        # As root, as in a container, Chromium has no sandbox to go into.
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visitor:
    """Somebody with a browser of his own. What his browser complains of is kept in `complaints`."""

    def __init__(self, system, chromium, **options):
        self.system = system
        self.address = f"http://127.0.0.1:{system.cloud.port}"
        self.complaints = []
        options = {"viewport": {"width": 1280, "height": 860}, "locale": "en-US", **options}
        self.context = chromium.new_context(base_url=self.address, **options)
        self.context.set_default_timeout(WAIT_MS)
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self._complain("error", str(error)))
        self.page.on("console", self._hear)
        self.page.on("response", self._look)
        self.page.on("requestfailed", self._miss)

    def link(self, role="admin"):
        with self.system.api() as api:
            return api.post("/api/v1/login-links", json={"role": role}).raise_for_status().json()["link"]

    def log_in(self, role="admin"):
        self.page.goto(self.link(role))
        expect(self.page.locator("[data-live=live]")).to_be_visible()
        return self

    def open(self, path):
        self.page.goto(path)
        expect(self.page.locator("[data-live=live]")).to_be_visible()
        return self.page

    def row(self, device):
        return self.page.locator(f"tr[data-device={device}]")

    def forgive(self, *words):
        """Take complaints with all of these words as what the test has asked for; there have to be some, soon."""
        deadline = time.monotonic() + 30
        while not (forgiven := [one for one in self.complaints if all(word in one for word in words)]):
            assert time.monotonic() < deadline, f"nothing of {words} in {self.complaints}"
            self.page.wait_for_timeout(50)
        self.complaints = [one for one in self.complaints if one not in forgiven]

    def _hear(self, message):
        if message.type in ("error", "warning"):
            self._complain(message.type, message.text, message.location.get("url", ""))

    def _look(self, response):
        if response.status >= 400:
            self._complain("answer", str(response.status), response.request.method, response.url)

    def _miss(self, request):
        # What a page still waits for, its stream above all, ends when the page is left.
        if "ERR_ABORTED" not in (request.failure or ""):
            self._complain("request", request.failure or "", request.url)

    def _complain(self, *words):
        self.complaints.append(" ".join(words))


@pytest.fixture
def visitor(system, chromium):
    """Make visitors; at the end none of them may have had a complaint that was not forgiven."""
    visitors = []

    def come(**options):
        visitors.append(Visitor(system, chromium, **options))
        return visitors[-1]

    yield come
    complaints = [one.complaints for one in visitors]
    for one in visitors:
        one.context.close()
    assert complaints == [[] for _ in visitors]


def changes(locator, seconds=30):
    """Wait until a text is another one than it is now."""
    before, deadline = locator.inner_text(), time.monotonic() + seconds
    while locator.inner_text() == before:
        assert time.monotonic() < deadline, f"it is {before} for {seconds} s"
        locator.page.wait_for_timeout(50)
