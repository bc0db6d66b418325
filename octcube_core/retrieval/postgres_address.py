"""The URL by which an index in PostgreSQL is named."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from octcube_core.errors import EmbeddingIndexError

SCHEMES = ("postgresql://", "postgres://")
DEFAULT_SCHEMA = "octcube"
NO_ADDRESS = "The address of the index is none of a PostgreSQL server; write postgresql://user@host/database."


def is_postgres(address: str) -> bool:
    """Whether an index is named by the URL of a PostgreSQL server."""
    return address.startswith(SCHEMES)


def split_address(url: str) -> tuple[str, str]:
    """The address for libpq, and the schema."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise EmbeddingIndexError(NO_ADDRESS) from None
    options = parse_qsl(parts.query, keep_blank_values=True)
    schema = next((value for name, value in options if name == "schema"), "") or DEFAULT_SCHEMA
    rest = [(name, value) for name, value in options if name != "schema"]
    # libpq takes %20 for a space, not +.
    return urlunsplit(parts._replace(query=urlencode(rest, quote_via=quote))), schema


def without_password(url: str, schema: str) -> str:
    """What to call an index in a sentence."""
    parts = urlsplit(url)
    # The last @: a password may hold others, or a slash that nobody escaped.
    host = f"{parts.netloc}{parts.path}".rpartition("@")[2]
    named = "" if schema == DEFAULT_SCHEMA else f"?schema={schema}"
    return f"{parts.scheme}://{host}{named}"
