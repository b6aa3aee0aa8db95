"""How far a node's clock is from the store's: measured by answers that come anyway, and told to people."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests import screens
from winslow.errors import NotFound
from winslow.store.address import StoreConfig
from winslow.store.s3 import S3Store
from winslow_tui.program import noderows
from winslow_tui.program.noderows import NodeRow
from winslow_tui.shown import wording

NOON = datetime(2026, 6, 12, 12, 0, 48, tzinfo=UTC)


class Answering(BaseHTTPRequestHandler):
    """A store that has nothing, and says what the time is."""

    date = ""

    def do_GET(self) -> None:
        self.send_response_only(404)
        if self.date:
            self.send_header("Date", self.date)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is said of requests."""


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Answering, "date", "")
    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/bucket"
        finally:
            server.shutdown()
            serving.join()


@pytest.mark.parametrize(
    ("date", "skew"),
    [
        ("Fri, 12 Jun 2026 12:00:48 GMT", 0),
        ("Fri, 12 Jun 2026 12:00:00 GMT", 48),
        ("Fri, 12 Jun 2026 13:00:49 GMT", -3602),
        ("yesterday", None),
        ("", None),
    ],
)
def test_every_answer_of_the_store_tells_its_time(
    address: str, date: str, skew: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = S3Store(StoreConfig(url=address, access_key="a", secret_key="b"), now=lambda: NOON)
    try:
        assert store.skew() is None
        monkeypatch.setattr(Answering, "date", date)
        with pytest.raises(NotFound):
            store.get("a")
        assert store.skew() == skew
    finally:
        store.close()


@pytest.mark.parametrize(
    ("skew", "short", "words"),
    [
        (0, "0s", "as the store's"),
        (-1, "-1s", "1 s behind the store's"),
        (4, "+4s", "4 s ahead of the store's"),
        (48, "+48s", "48 s ahead of the store's: set it (NTP)"),
        (-7_260, "-2h01", "2 h 1 min behind the store's: set it (NTP)"),
    ],
)
def test_a_skew_is_told_in_a_column_and_in_words(skew: int, short: str, words: str) -> None:
    assert (wording.skew_told(skew), wording.clock_told(skew)) == (short, words)
    assert ("clock", words) in noderows.facts(screens.node("ws1", skew=skew))


def test_only_a_clock_that_is_off_stands_out_and_an_unknown_one_is_not_shown() -> None:
    place = [column.label for column in noderows.COLUMNS].index("SKEW")
    cells = {skew: NodeRow(screens.node("ws1", skew=skew)).cells()[place] for skew in (None, 0, -4, 5, -5)}
    assert {skew for skew, cell in cells.items() if not cell.dim} == {5, -5}
    assert cells[None].text == "-"
    assert "clock" not in {name for name, _ in noderows.facts(screens.node("ws1"))}
