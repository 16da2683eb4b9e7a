"""The documentation site builds without a warning, and its pages are whole; for the extra docs."""

from __future__ import annotations

import functools
import html.parser
import http.server
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import urllib.parse

import pytest

pytest.importorskip("sphinx", reason="the extra docs is not installed")
pytest.importorskip("furo", reason="the extra docs is not installed")

DOCS = pathlib.Path(__file__).parents[2] / "docs"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-E", DOCS, folder]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Page(html.parser.HTMLParser):
    """What a page refers to and what can be referred to in it."""

    def __init__(self, path: pathlib.Path):
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        of = dict(attrs)
        self.ids.add(of.get("id") or "")
        if tag != "link" or of.get("rel") == "stylesheet":
            self.links += [of[name] for name in ("href", "src") if of.get(name)]


def pages_of(folder: pathlib.Path) -> dict[pathlib.Path, Page]:
    return {path: Page(path) for path in sorted(folder.rglob("*.html"))}


def broken_links(folder: pathlib.Path) -> list[str]:
    """The links within the site that lead to no file, or to no place in it."""
    pages, broken = pages_of(folder), []
    for path, page in pages.items():
        for link in page.links:
            address = urllib.parse.urlsplit(link)
            if address.scheme or link.startswith("//"):
                continue
            file = (path.parent / urllib.parse.unquote(address.path)).resolve()
            target = path if not address.path else file
            place = urllib.parse.unquote(address.fragment)
            is_page = target in pages
            if not target.exists() or (place and is_page and place not in pages[target].ids):
                broken.append(f"{path.relative_to(folder)}: {link}")
    return broken


def test_links_within_the_site_lead_somewhere(site):
    assert len(pages_of(site)) > 20
    assert broken_links(site) == []


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / "a.html").write_text('<a href="b.html#here">b</a><a href="#x">c</a><p id="y">')
    (tmp_path / "b.html").write_text('<p id="there"><img src="none.png">')
    found = ["a.html: b.html#here", "a.html: #x", "b.html: none.png"]
    assert broken_links(tmp_path) == found


def test_the_reference_has_an_entry_with_a_text_for_every_public_name(site):
    sys.path.insert(0, str(DOCS / "extensions"))
    try:
        import reference
    finally:
        sys.path.remove(str(DOCS / "extensions"))
    for room in reference.ROOMS:
        text = (site / "api" / f"{room}.html").read_text("utf-8")
        entries = reference.entries(room)
        assert entries, room
        for entry in entries:
            _, _, rest = text.partition(f'id="{entry.name}"')
            own = rest.partition('id="recur.')[0]  # without its methods and the next entry
            assert re.search(r"</dt>\s*<dd><p>\w", own), f"{entry.name} has no text"


@pytest.fixture
def address(site):
    """The site, served on this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def open_in_browser(url: str, profile: pathlib.Path) -> tuple[str, list[str]]:
    """The page as a browser shows it, and what its console says."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no Chromium is installed")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    options += ["--disable-quic", "--no-first-run", "--disable-component-update", "--disable-sync"]
    options += ["--enable-logging=stderr", "--virtual-time-budget=20000", "--dump-dom"]
    command = [browser, *options, f"--user-data-dir={profile}", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_no_page_has_an_error_in_the_console(site, address, tmp_path):
    frames = [
        f'<iframe src="{path.relative_to(site).as_posix()}"></iframe>' for path in pages_of(site)
    ]
    (site / "all.html").write_text("".join(frames))
    try:
        _, console = open_in_browser(f"{address}/all.html", tmp_path)
    finally:
        (site / "all.html").unlink()
    assert console == []


def test_an_error_in_the_console_is_found(site, address, tmp_path):
    (site / "wrong.html").write_text("<iframe src='bad.html'></iframe>")
    (site / "bad.html").write_text("<script>throw new Error('expected here')</script>")
    try:
        _, console = open_in_browser(f"{address}/wrong.html", tmp_path)
    finally:
        (site / "wrong.html").unlink()
        (site / "bad.html").unlink()
    assert any("expected here" in line for line in console)


def test_the_search_finds_a_function(address, tmp_path):
    shown, _ = open_in_browser(f"{address}/search.html?q=zoneout", tmp_path)
    assert "recur.zoneout" in shown and "Search finished" in shown
