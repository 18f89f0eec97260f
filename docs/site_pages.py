"""A hook of MkDocs: puts pages from outside of ``docs/`` into the site, and points links at their places there."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

__all__ = ["on_files", "on_page_markdown"]

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "helm/tickbridge/README.md": "reference/helm-chart.md",
    "conformance/README.md": "reference/conformance.md",
}
"""Path in the repository → path in the site."""
_PLACES = {site: repository for repository, site in PAGES.items()}
_LINK = re.compile(r"\[([^\[\]]*)\]\(([^)\s]+)\)")
_CODE = re.compile(r"(^```.*?^```)", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside of ``docs/``."""
    for repository, site in PAGES.items():
        files.append(File.generated(config, site, content=(ROOT / repository).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite the links of a page; a file that is not in the site is named without a link."""
    del config
    here = page.file.src_uri
    source = _PLACES.get(here, f"docs/{here}")

    def place(link: re.Match[str]) -> str:
        text, target = link.groups()
        path, mark, anchor = target.partition("#")
        if not path or ":" in path:
            return link[0]
        repository = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        site = PAGES.get(repository, repository.removeprefix("docs/"))
        if files.get_file_from_path(site) is None and (ROOT / repository).exists():
            return text
        return f"[{text}]({posixpath.relpath(site, posixpath.dirname(here) or '.')}{mark}{anchor})"

    parts = _CODE.split(markdown)
    return "".join(part if part.startswith("```") else _LINK.sub(place, part) for part in parts)
