"""A worker as Prometheus sees it: scraped, and held to the rules of ``docs/alerts.yml``."""

from __future__ import annotations

import time
import urllib.request
from typing import Final

from tests.chaos.runs.alerts import fired, rules_of
from tests.chaos.runs.scrape import Numbers, parse


class Prometheus:
    """Scrapes one worker when it is told to; a counter has risen when two scrapes say so.

    Args:
        url: of the worker.
    """

    def __init__(self, url: str) -> None:
        self._url: Final = url
        self._answers: list[Numbers] = []
        # loopback is not for a proxy to reach
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def scrape(self) -> None:
        """Look once."""
        with self._opener.open(f"{self._url}/metrics", timeout=20) as got:
            self._answers.append(Numbers(parse(got.read().decode()), time.time()))

    def fires(self, alert: str) -> bool:
        """Whether the expression of a rule holds, after one more look or at one before."""
        self.scrape()
        (rule,) = (rule for rule in rules_of() if rule.name == alert)
        return fired([rule], {"w0": self._answers}) == [alert]
