"""What the words before a finding say it is.

The last label before a finding decides, unless another number stands between: that one is what it named. A label of its own type within `REACH` characters raises the score by `STEP`, to
`LEAST` at least: Presidio's factors. Any other label lowers it by as much, if it stands right before: in "part no.
219-41-5522" the number is called something else, in "in that case, 219-41-5522" it is not.
Labels are the usual names of these things, and any word with "number", "no.", "id" or the like behind it.
"""

from __future__ import annotations

import re

REACH = 48
STEP = 0.35
LEAST = 0.4

_EDGE = r"(?<![^\W_])"
_NUMBER = r"(?:[\s_\-]*(?:numbers?|num|nummer|nº|n°|nos?|nr|#)(?![^\W_]))?"
_LABELS = {
    "US_SSN": rf"{_EDGE}(?:ssns?|ssid|itin|tin|soc(?:ial)?[\s._\-]+sec(?:urity)?|taxpayer|ss(?=\s?#)){_NUMBER}",
    "PHONE_NUMBER": (
        r"(?:phone|t[eé]l[eé]f|mobil|m[oó]v[ií]l|cellul|celular|handy|puhelin|puh\.|whatsapp|電話|携帯|电话|手机|전화|휴대)"
        rf"[^\W\d_]*{_NUMBER}"
        rf"|{_EDGE}(?:t[eé]l|tlf|tfno|ph|cell|gsm|fax|sms|call(?:s|ed|ing)?|ring|dial|hotline|voicemail|reach"
        rf"|anruf\w*|appel\w*|llam\w*|chiam\w*|ring\w*|bel)(?![^\W_]){_NUMBER}"
    ),
    "CREDIT_CARD": (
        rf"{_EDGE}(?:(?:credit|debit|bank|kredit)?[\s_\-]?(?:cards?|karte\w*|carte|carta|tarjeta|kort\w*|kaart)"
        rf"|visa|mastercard|amex|maestro|discover|jcb|diners|cc|pan)(?![^\W_]){_NUMBER}"
    ),
    "IBAN_CODE": rf"{_EDGE}(?:iban|bank|transaction|konto\w*|compte|cuenta)(?![^\W_]){_NUMBER}",
    "IP_ADDRESS": rf"{_EDGE}(?:ip(?:v[46])?|ip[\s_\-]?addr\w*|hosts?|server|client|subnet|gateway|peer)(?![^\W_])",
    "URL": rf"{_EDGE}(?:urls?|web\s?sites?|links?|homepage)(?![^\W_])",
    "EMAIL_ADDRESS": rf"{_EDGE}e[\-\s]?mails?(?![^\W_])",
}
_OTHER = (
    rf"{_EDGE}(?:orders?|invoices?|bill|parts?|items?|serials?|sku|s/n|isbn|issn|doi|ean|upc|gtin|imei|iccid|vin|asin"
    r"|tickets?|cases?|issues?|bugs?|ref(?:erence|erenz|s)?|track\w*|shipments?|parcels?|waybills?|versions?|ver|releases?"
    r"|builds?|firmware|kernel|driver|rev(?:ision)?|patch|zip|postcode|postal|plz|lots?|batch(?:es)?|models?|dates?"
    r"|customers?|clients?|patents?|commits?|hash|checksum|pages?|sections?|chapters?|clauses?|figures?|tables?|polic(?:y|ies)"
    r"|claims?|contracts?|licen[cs]es?|po|pin|codes?|bestell\w*|rechnung\w*|artikel\w*|commande|facture|pedido|factura"
    rf"|ordine|fattura|zamówieni\w*|faktur\w*|amount|total|sum|price|timestamp|epoch|uid|pid|port|size|bytes?)(?![^\W_])"
    r"|[^\W\d_]{2,}(?:[\s_\-]*(?:numbers?|nummer|#)|[\s_\-]+(?:num|nº|n°|nos?|nr|ids?|code|ref))(?![^\W_])|§|#(?=\s*$)"
)
_LABEL = re.compile("|".join(f"(?P<{kind}>{words})" for kind, words in [*_LABELS.items(), ("OTHER", _OTHER)]))
_NOTHING_BETWEEN = re.compile(r"(?:[\W_]|(?<![^\W_])(?:numbers?|nos?|nr|num|ids?|is|was|are|code|ref)(?![^\W_]))*")
_NUMBER_BETWEEN = re.compile(r"\d(?:[\s.\-/]?\d){4}")
NAMES_ITSELF = frozenset({"EMAIL_ADDRESS", "URL", "IBAN_CODE"})
"""Types whose form is proof enough: no label before them lowers their score."""


def adjusted(text: str, start: int, type_: str, score: float) -> float:
    """The score (0 to 1) of a finding of this type that begins at `start`, in view of the label before it."""
    before = text[max(0, start - REACH) : start].lower()
    label = None
    for label in _LABEL.finditer(before):
        pass
    if label is None:
        return score
    if _NUMBER_BETWEEN.search(before, label.end()):
        return score
    if label.lastgroup == type_:
        return min(1.0, max(LEAST, score + STEP))
    if type_ in NAMES_ITSELF or (type_ == "IP_ADDRESS" and label.lastgroup != "OTHER"):
        return score
    called_so = _NOTHING_BETWEEN.fullmatch(before, label.end())
    return max(0.0, score - STEP) if called_so else score
