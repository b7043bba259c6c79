"""A bill of materials for each package, as CycloneDX has it."""

import hashlib
import tomllib
import uuid
from pathlib import Path

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL


def write(function, crates, packed, path):
    """Writes what a package contains, and holds it against the published schema; says how much it is."""
    checksums = _checksums()
    components = {it: _component(crate, checksums) for it, crate in crates.items()}
    bom = Bom(components=components.values())
    root = Component(
        name=function,
        type=ComponentType.APPLICATION,
        version=next(iter(crates.values())).package["version"],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=hashlib.sha256(packed.read_bytes()).hexdigest())],
        bom_ref=packed.name,
    )
    bom.metadata.component = root
    # Of the same package the same bill: neither a time nor a number that is drawn.
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, root.hashes[0].content)
    bom.metadata.timestamp = None
    bom.register_dependency(root, [next(iter(components.values()))])
    for it, crate in crates.items():
        bom.register_dependency(components[it], [components[other] for other in crate.depends_on])
    text = JsonV1Dot6(bom).output_as_string(indent=1)
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if fault:
        raise ValueError(f"{path} is no bill of materials: {fault}")
    path.write_text(text + "\n", encoding="utf-8")
    return f"{len(components)} components"


def _component(crate, checksums):
    package = crate.package
    checksum = checksums.get((package["name"], package["version"]))
    references = []
    if package["repository"]:
        references.append(ExternalReference(type=ExternalReferenceType.VCS, url=XsUri(package["repository"])))
    return Component(
        name=package["name"],
        version=package["version"],
        type=ComponentType.LIBRARY,
        bom_ref=crate.name,
        # What is ours is not published.
        purl=None if crate.is_ours else PackageURL("cargo", name=package["name"], version=package["version"]),
        licenses=[LicenseExpression(package["license"])] if package["license"] else [],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=checksum)] if checksum else [],
        external_references=references,
    )


def _checksums():
    lock = tomllib.loads(Path("Cargo.lock").read_text(encoding="utf-8"))
    return {(it["name"], it["version"]): it["checksum"] for it in lock["package"] if "checksum" in it}
