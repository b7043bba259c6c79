"""Under which terms the work of others is in the packages: most licences ask that their text be passed on."""

import hashlib
from pathlib import Path

NAMES = ("license", "licence", "copying", "copyright", "notice", "unlicense")
SOURCES = (".rs", ".c", ".h", ".go", ".py", ".sh", ".toml")


def write(crates, path):
    """Writes the list and the texts; says how many there are."""
    texts, without = {}, []
    crates = sorted(crates, key=lambda crate: crate.name)
    for crate in crates:
        found = list(_texts(Path(crate.package["manifest_path"]).parent))
        if not found:
            without.append(crate.name)
        for text in found:
            key = hashlib.sha256(" ".join(text.split()).encode()).hexdigest()
            texts.setdefault(key, (text, []))[1].append(crate.name)
    rule = "-" * 100
    lines = ["The functions of Patchbay contain the work of others, under these licences.", ""]
    for crate in crates:
        source = crate.package["repository"] or f"https://crates.io/crates/{crate.package['name']}"
        lines.append(f"{crate.name}  {crate.package['license'] or 'see its text'}  {source}")
    if without:
        lines += ["", "Published without a text of their licence: " + ", ".join(without) + "."]
    for text, names in texts.values():
        lines += ["", rule, ", ".join(names), rule, "", text.strip()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"{len(crates)} crates, {len(texts)} texts, {len(without)} crates without one"


def _texts(directory):
    # One level down, too: where a crate carries a library of another language, its licence lies beside it.
    for path in sorted([*directory.glob("*"), *directory.glob("*/*")]):
        if path.is_file() and path.name.lower().startswith(NAMES) and path.suffix not in SOURCES:
            yield path.read_text(encoding="utf-8", errors="replace")
