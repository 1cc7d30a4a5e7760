"""The service on SQLite or PostgreSQL, and a browser that looks at its pages."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from served import Served, on_sqlite

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    service = on_sqlite(tmp_path)
    yield service
    service.store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def served_on_both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    """The service on each database; its folder is `tmp_path` on SQLite."""
    on_postgres = request.param == "postgresql"
    service = Served(request.getfixturevalue("new_postgres")()) if on_postgres else on_sqlite(tmp_path)
    yield service
    service.store.close()


@pytest.fixture
def address(served: Served) -> Iterator[str]:
    """The service on a port of this machine, in a thread."""
    import uvicorn

    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(served.app, log_config=None, access_log=False, lifespan="off", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=20)


@pytest.fixture
def new_browser(tmp_path: Path) -> Iterator[Callable[..., Chrome]]:
    """Starts chromium without a window, each with a profile of its own: `new_browser(language="de", width=400)`."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    binary = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no chromium with its chromedriver is installed on this machine")
    started: list[Chrome] = []

    def start(*, language: str = "en", width: int = 1200, dark: bool = False) -> Chrome:
        options = ChromeOptions()
        options.binary_location = binary
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-dev-shm-usage",
            "--no-first-run",
            f"--user-data-dir={tmp_path / f'profile-{len(started)}'}",
            f"--lang={language}",
            f"--window-size={width},1000",
            *(["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if dark else []),
        ):
            options.add_argument(argument)
        options.add_experimental_option("prefs", {"intl.accept_languages": language})
        browser = Chrome(options=options, service=Service(driver, env={**os.environ, "SE_OFFLINE": "true"}))
        started.append(browser)
        # A window has a least width of its own; this has none.
        metrics = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        return browser

    yield start
    for browser in started:
        browser.quit()


@pytest.fixture
def client(served: Served) -> Any:
    """A client of the service without a token."""
    return served.client()
