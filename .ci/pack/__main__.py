"""Packs what `sam build` has built, holds it to what is promised of it, and lists whose work is in it.

Writes into the directory of the packages: for each function a zip file (the same bytes for the same binary)
and a bill of materials, and for all of them third-party-licences.txt.
"""

import argparse
import sys
from pathlib import Path

from samtranslator.yaml_helper import yaml_parse

import bom
import licences
from binary import Elf
from crates import linked
from zips import pack

# Lambda fetches and unpacks a package in each cold start, so a package is kept small on purpose.
MB = 1_000_000
LARGEST_PACKAGE = 3 * MB
# The standard library's own come to 5 KB: a binary with no more than those aborts instead of unwinding.
SMALLEST_TABLES = 64_000


def main():
    """The exit code: 0 if everything that is promised holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--template", type=Path, required=True, help="which names the functions")
    parser.add_argument("--built", type=Path, required=True, help="where sam build has put the functions")
    parser.add_argument("--cargo-target", type=Path, required=True, help="cargo's target directory")
    parser.add_argument("--triple", required=True, help="the target that was built for")
    parser.add_argument("--packages", type=Path, required=True, help="where the packages go")
    options = parser.parse_args()
    faults = entropy(options)
    print(f"{'package':22} {'binary':>9} {'zip':>9}   (at most {LARGEST_PACKAGE / MB:.2f} MB)")
    others = {}
    for resource, binary in functions(options.template).items():
        bootstrap = options.built / resource / "bootstrap"
        packed = options.packages / f"{binary}.zip"
        size = pack(bootstrap, packed)
        crates = linked(binary, options.triple)
        others |= {it: crate for it, crate in crates.items() if not crate.is_ours}
        listed = bom.write(binary, crates, packed, options.packages / f"{binary}.cdx.json")
        print(f"{packed.name:22} {bootstrap.stat().st_size / MB:6.2f} MB {size / MB:6.2f} MB   {listed}")
        if size > LARGEST_PACKAGE:
            faults.append(f"{packed.name} has {size} bytes, and at most {LARGEST_PACKAGE} are allowed")
        faults += [f"{binary}: {fault}" for fault in of_binary(bootstrap, options.triple)]
    listed = licences.write(others.values(), options.packages / "third-party-licences.txt")
    print(f"third-party-licences.txt: {listed}")
    for fault in faults:
        print(f"package: {fault}", file=sys.stderr)
    return 1 if faults else 0


def functions(template):
    """The functions of a SAM template: each resource's name with that of its binary."""
    resources = yaml_parse(template.read_text(encoding="utf-8"))["Resources"].items()
    return {
        name: resource["Metadata"]["BuildProperties"]["Binary"]
        for name, resource in resources
        if resource["Type"] == "AWS::Serverless::Function"
    }


def of_binary(path, triple):
    """What is wrong with a binary."""
    elf = Elf(path)
    if elf.machine != triple.split("-")[0]:
        yield f"is built for {elf.machine}, not for {triple}"
    if elf.size_of(".gcc_except_table") < SMALLEST_TABLES:
        yield 'does not unwind (panic = "abort"?): a handler that panics would leave its claim standing'
    if elf.size_of(".symtab"):
        yield "is not stripped"
    newest = elf.newest_glibc()
    if newest > (2, 34):
        yield f"needs glibc {newest[0]}.{newest[1]}, and Amazon Linux 2023 has 2.34"


def entropy(options):
    """Whether the library for cryptography was built without what costs 20 ms of every cold start."""
    outputs = list((options.cargo_target / options.triple / "release" / "build").glob("aws-lc-sys-*/output"))
    told = "AWS_LC_SYS_NO_JITTER_ENTROPY': '1'"
    if outputs and all(told in path.read_text(encoding="utf-8", errors="replace") for path in outputs):
        return []
    return ["aws-lc-sys was built without AWS_LC_SYS_NO_JITTER_ENTROPY=1, which .cargo/config.toml sets"]


if __name__ == "__main__":
    sys.exit(main())
