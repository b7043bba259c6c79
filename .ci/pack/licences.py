"""Whose work is in the packages, and under which terms: those of most licences ask for their text to be passed on."""

import hashlib
import json
import subprocess
from pathlib import Path

SOURCES = (".rs", ".c", ".h", ".go", ".py", ".sh", ".toml")
NAMES = ("license", "licence", "copying", "copyright", "notice", "unlicense")


def deployed(binaries, triple):
    """The crates of others that are linked into any of the binaries, by name and version."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", triple]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    waiting = [package["id"] for package in packages.values() if package["name"] in binaries and package["source"] is None]
    seen = set()
    while waiting:
        current = waiting.pop()
        if current in seen or _runs_in_the_compiler(packages[current]):
            continue
        seen.add(current)
        for dependency in nodes[current]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                waiting.append(dependency["pkg"])
    others = [packages[it] for it in seen if packages[it]["source"] is not None]
    return sorted(others, key=lambda package: (package["name"], package["version"]))


def _runs_in_the_compiler(package):
    return any("proc-macro" in target["kind"] for target in package["targets"])


def write(packages, path):
    """Writes the list and the texts; says how many there are."""
    texts, without = {}, []
    for package in packages:
        name = f"{package['name']} {package['version']}"
        found = list(_texts(Path(package["manifest_path"]).parent))
        if not found:
            without.append(name)
        for text in found:
            key = hashlib.sha256(" ".join(text.split()).encode()).hexdigest()
            texts.setdefault(key, (text, []))[1].append(name)
    rule = "-" * 100
    lines = ["The functions of Patchbay contain the work of others, under these licences.", ""]
    for package in packages:
        source = package["repository"] or f"https://crates.io/crates/{package['name']}"
        lines.append(f"{package['name']} {package['version']}  {package['license'] or 'see its text'}  {source}")
    if without:
        lines += ["", "Published without a text of their licence: " + ", ".join(without) + "."]
    for text, names in texts.values():
        lines += ["", rule, ", ".join(names), rule, "", text.strip()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"{len(packages)} crates, {len(texts)} texts, {len(without)} crates without one"


def _texts(directory):
    # One level down, too: where a crate carries a library of another language, its licence lies beside it.
    for path in sorted([*directory.glob("*"), *directory.glob("*/*")]):
        if path.is_file() and path.name.lower().startswith(NAMES) and path.suffix not in SOURCES:
            yield path.read_text(encoding="utf-8", errors="replace")
