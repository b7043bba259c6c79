"""Which crates are linked into a function, as cargo knows it."""

import json
import subprocess
from dataclasses import dataclass, field


@dataclass
class Crate:
    """A crate, and which of the others it depends on."""

    package: dict
    depends_on: list = field(default_factory=list)

    @property
    def name(self):
        """Its name with its version."""
        return f"{self.package['name']} {self.package['version']}"

    @property
    def is_ours(self):
        """Whether it belongs to this workspace."""
        return self.package["source"] is None


def linked(function, triple):
    """Every crate in a function's binary, by its id; the function's own comes first."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", triple]
    metadata = json.loads(_run(command))
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    # The graph is of the whole workspace with all its features; the tree is of this function with its own.
    tree = ["cargo", "tree", "--locked", "--package", function, "--target", triple, "--edges", "normal"]
    lines = _run([*tree, "--prefix", "none", "--format", "{p}"]).splitlines()
    built = {tuple(line.split()[:2]) for line in lines if line}
    crates = {}

    def is_linked(package):
        runs_in_the_compiler = any("proc-macro" in target["kind"] for target in package["targets"])
        return (package["name"], f"v{package['version']}") in built and not runs_in_the_compiler

    waiting = [
        it for it, package in packages.items() if package["name"] == function and package["source"] is None
    ]
    while waiting:
        current = waiting.pop()
        if current in crates:
            continue
        edges = nodes[current]["deps"]
        normal = [edge["pkg"] for edge in edges if any(kind["kind"] is None for kind in edge["dep_kinds"])]
        crates[current] = Crate(packages[current], [it for it in normal if is_linked(packages[it])])
        waiting += crates[current].depends_on
    return crates


def _run(command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
