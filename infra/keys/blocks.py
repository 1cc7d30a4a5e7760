"""Secrets that Prefect keeps: its blocks of the kind Secret."""

from __future__ import annotations

from revs.errors import BadInput, OperationFailed, RevsError


def secret_of(block: str) -> str:
    """Return what a Secret block holds, as text.

    Raises:
        BadInput: There is no such block.
        OperationFailed: Prefect's API does not answer, or answers something else.
    """
    import httpx
    from prefect.context import SyncClientContext
    from prefect.exceptions import ObjectNotFound

    try:
        with SyncClientContext.get_or_create() as context:
            found = context.client.read_block_document_by_name(block, "secret").data.get("value")
    except ObjectNotFound:
        raise BadInput(
            f"REVS_DEPLOYMENT_KEY_BLOCK={block}: Prefect has no Secret block of this name; make it, or correct the name"
        ) from None
    except RevsError:  # the time of a stage is over
        raise
    # RuntimeError: no connection, or a temporary server that does not start; ValueError: an answer that is none
    except (httpx.HTTPError, httpx.InvalidURL, RuntimeError, ValueError) as error:
        raise OperationFailed(
            f"the Secret block {block} cannot be read: Prefect's API does not give it ({type(error).__name__}); "
            "nothing was stored or changed: see that it runs, and to PREFECT_API_URL and PREFECT_API_KEY"
        ) from None
    return str(found)
