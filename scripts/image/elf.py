"""What programs and libraries need to run, from their ELF headers (readelf of binutils, which every C compiler brings)."""

import re
import subprocess
from pathlib import Path


def is_elf(path):
    """Whether a file is a program or library."""
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def readelf(option, path):
    """The output of readelf."""
    command = ["readelf", "--wide", option, str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"}).stdout


def needed(path):
    """The names of the libraries that a file is linked with."""
    return re.findall(r"\(NEEDED\).*\[(.*)\]", readelf("--dynamic", path))


def interpreter(path):
    """The dynamic loader that a program asks for, if it is linked dynamically."""
    found = re.search(r"program interpreter: (.*)\]", readelf("--program-headers", path))
    return found and found.group(1)


def glibc_version(path):
    """The oldest C library that has every symbol that a file uses, such as (2, 34)."""
    versions = re.findall(r"Name: GLIBC_(\d+(?:\.\d+)+)\b", readelf("--version-info", path))
    return max((tuple(map(int, version.split("."))) for version in versions), default=())


class Root:
    """A folder with unpacked packages, in which libraries are looked up as the dynamic loader does."""

    def __init__(self, path):
        self.path = Path(path)

    def find(self, name):
        """The path of a library below the folder, as it is in a file system whose /lib is a link to /usr/lib."""
        for folder in sorted(self.path.glob("usr/lib/*-linux-gnu*")) + [self.path / "usr/lib", self.path / "usr/lib64"]:
            if (folder / name).exists():
                return folder / name
        raise SystemExit(f"image: no package has {name}: name its package in scripts/image/packages.py")

    def closure(self, wanted):
        """Every library that the given files need, directly or not: its path and the name of the first file that needs it."""
        reasons = {}
        waiting = list(wanted)
        while waiting:
            file = waiting.pop(0)
            for name in needed(file):
                path = self.find(name)
                if path not in reasons and path not in wanted:
                    reasons[path] = file.name
                    waiting.append(path)
        return reasons
