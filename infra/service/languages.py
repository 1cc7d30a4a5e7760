"""The languages of the pages: gettext catalogues beside this file, read once, and the templates in each of them."""

from __future__ import annotations

import gettext
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from babel.core import negotiate_locale
from babel.dates import format_date, format_datetime
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request

from infra.requests.reasons import Reason

FOLDER = Path(__file__).parent
NAMES = {"en": "English", "de": "Deutsch"}
COOKIE = "revs-language"
_LOCALES = {"en": "en_GB", "de": "de_DE"}


@dataclass(frozen=True, slots=True)
class Language:
    """One language: its code, and the templates in it."""

    code: str
    templates: Environment

    def render(self, template: str, values: Mapping[str, Any]) -> str:
        """Return a page."""
        return self.templates.get_template(template).render(language=self.code, languages=NAMES, **values)


def catalogue(code: str) -> Catalog:
    """Return the catalogue of a language."""
    with (FOLDER / "locale" / f"{code}.po").open("rb") as file:
        return read_po(file, locale=code)


def languages() -> dict[str, Language]:
    """Return all languages by code."""
    return {code: Language(code, _templates(code)) for code in NAMES}


def chosen(request: Request, asked: str | None = None) -> str:
    """Return the language of a call: the one asked for, else of the cookie, else what the browser accepts best."""
    for code in (asked, request.cookies.get(COOKIE)):
        if code in NAMES:
            return str(code)
    accepted = [part.partition(";")[0].lower() for part in _by_weight(request.headers.get("accept-language", ""))]
    return negotiate_locale(accepted, list(NAMES), sep="-") or "en"


def _by_weight(header: str) -> list[str]:
    """The parts of an Accept-Language header, the most wanted first; what is no weight weighs nothing."""

    def weight(part: str) -> float:
        _, _, q = part.partition(";q=")
        try:
            return float(q or 1)
        except ValueError:
            return 0.0

    return sorted(header.replace(" ", "").split(",")[:20], key=weight, reverse=True)


def _templates(code: str) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        extensions=["jinja2.ext.i18n"],
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    compiled = io.BytesIO()
    write_mo(compiled, catalogue(code))
    compiled.seek(0)
    translations = gettext.GNUTranslations(compiled)
    environment.install_gettext_callables(  # type: ignore[attr-defined]  # jinja2.ext.i18n adds it to the object at run time
        translations.gettext, translations.ngettext, newstyle=True
    )
    locale = _LOCALES[code]

    def day(value: date) -> str:
        return format_date(value, "medium", locale)

    def moment(value: datetime) -> str:
        return format_datetime(value, "medium", locale=locale) + " UTC"

    def said(reason: Reason) -> str:
        return reason.said(translations.gettext)

    environment.filters.update(day=day, moment=moment, said=said)
    return environment
