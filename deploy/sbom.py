"""A software bill of materials of what the image installs, CycloneDX 1.6 as JSON: python3 dev.py sbom [LOCK] > sbom.cdx.json.

The components are those of the lock (``requirements.lock``), with its hashes; licences come from the packages where they are
installed. The same lock gives the same bill: it holds no time and no random number.
"""

from __future__ import annotations

import json
import re
import sys
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["bill", "locked"]

ROOT = Path(__file__).parents[1]


def locked(text: str) -> dict[str, tuple[str, list[str]]]:
    """A lock's packages: name → version and SHA-256 hashes."""
    found: dict[str, tuple[str, list[str]]] = {}
    for entry in text.replace("\\\n", " ").splitlines():
        match = re.match(r"([\w.-]+)==(\S+)", entry)
        if match:
            found[match[1]] = (match[2], re.findall(r"--hash=sha256:([0-9a-f]{64})", entry))
    return found


def bill(text: str, version: str) -> dict[str, Any]:
    """The bill of a lock."""
    packages = locked(text)
    components = [_component(name, *package) for name, package in sorted(packages.items())]
    product = {
        "type": "application",
        "bom-ref": f"pkg:pypi/tickbridge@{version}",
        "name": "tickbridge",
        "version": version,
        "purl": f"pkg:pypi/tickbridge@{version}",
        "licenses": [{"license": {"id": "MIT"}}],
    }
    edges = [{"ref": product["bom-ref"], "dependsOn": [each["bom-ref"] for each in components]}]
    edges += [
        {"ref": f"pkg:pypi/{name}@{packages[name][0]}", "dependsOn": _needs(name, packages)}
        for name in sorted(packages)
    ]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, version + text)}",
        "version": 1,
        "metadata": {"component": product},
        "components": components,
        "dependencies": edges,
    }


def _component(name: str, version: str, hashes: list[str]) -> dict[str, Any]:
    purl = f"pkg:pypi/{name}@{version}"
    component: dict[str, Any] = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    # One file a platform: the hashes are of distributions, not of the component.
    component["externalReferences"] = [
        {"type": "distribution", "url": purl, "hashes": [{"alg": "SHA-256", "content": each}]} for each in hashes
    ]
    licence = _licence(name)
    return component | ({"licenses": [licence]} if licence else {})


def _licence(name: str) -> dict[str, Any] | None:
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return None
    if expression := about.get("License-Expression"):
        return {"expression": expression}
    classifiers = [c.rpartition(" :: ")[2] for c in about.get_all("Classifier") or () if c.startswith("License :: OSI")]
    named = classifiers[0] if classifiers else (about.get("License") or "").strip().partition("\n")[0]
    return {"license": {"name": named}} if named else None


def _needs(name: str, packages: dict[str, tuple[str, list[str]]]) -> list[str]:
    try:
        required = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []
    names = {
        re.split(r"[^\w.-]", each, maxsplit=1)[0].lower().replace("_", "-")
        for each in required
        if "extra ==" not in each
    }
    return [f"pkg:pypi/{each}@{packages[each][0]}" for each in sorted(names & packages.keys())]


def main(arguments: list[str]) -> int:
    """Write the bill of a lock to stdout."""
    match = re.search(r'__version__ = "([^"]+)"', (ROOT / "bridge" / "__init__.py").read_text(encoding="utf-8"))
    lock = (ROOT / (arguments[0] if arguments else "requirements.lock")).read_text(encoding="utf-8")
    json.dump(bill(lock, match[1] if match else "0"), sys.stdout, indent=1)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
