"""What it takes for two records to be made in one environment."""

__all__ = ["environment_digest"]

from collections.abc import Mapping

from alignmeter.cells.cell import digest


def environment_digest(
    *,
    versions: Mapping[str, str],
    device: str,
    driver: str | None,
    runtime: str | None,
    threads: int | None,
    environment: Mapping[str, str],
    imported: Mapping[str, str] | None = None,
) -> str:
    """First 12 hex digits over versions, device, threads and environment variables.

    Resume and comparison treat two records as made in one environment if this is equal. Which of
    several like devices a process was given (``placement``) is no part of it. ``imported``: files
    of packages that are imported from elsewhere than where they are installed; what is there is
    none of their version, and where nothing is the digest is that of former records.
    """
    parts = [dict(versions), device, driver, runtime, threads, dict(environment)]
    return digest([*parts, dict(imported)] if imported else parts)[:12]
