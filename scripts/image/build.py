"""Builds one image archive from the release binary and files of Debian's packages. scripts/image.sh calls it.

Every file in the image is there for a reason that the image lists in /usr/share/doc/pointsman/contents.txt: a program that Pointsman runs,
a library that one of the programs needs, or a licence.
"""

import argparse
import datetime
import os
import subprocess
import sys
from pathlib import Path

import elf
import oci
import packages

DOC = "usr/share/doc"
BINARY = "usr/local/bin/pointsman"
ARCHITECTURES = {"amd64": "amd64", "arm64": "arm64"}


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--variant", choices=packages.PACKAGES, required=True)
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True, help="a folder with the unpacked packages")
    parser.add_argument("--debs", type=Path, required=True, help="a file that names the packages, one path a line")
    parser.add_argument("--licences", type=Path, required=True, help="the licences of the crates in the binary")
    parser.add_argument("--version", required=True)
    parser.add_argument("--commit", required=True)
    parser.add_argument("--epoch", type=int, required=True)
    parser.add_argument("--reference", required=True, help="the name and tag of the image")
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


class Packages:
    """The packages that were unpacked, and which of them a file is from."""

    def __init__(self, debs):
        self.owners, self.versions = {}, {}
        for deb in debs.read_text().split():
            name, version, self.architecture = query(deb)
            self.versions[name] = version
            for path in paths(deb):
                self.owners.setdefault(path, name)

    def owner(self, path):
        """The package of a path below the root."""
        for candidate in (path, path.removeprefix("usr/")):
            if candidate in self.owners:
                return self.owners[candidate]
        raise SystemExit(f"image: {path} is from no package")


def query(deb):
    """Name, version and architecture of a package."""
    shown = subprocess.run(
        ["dpkg-deb", "--show", "--showformat", "${Package} ${Version} ${Architecture}", deb], check=True, capture_output=True, text=True
    )
    return shown.stdout.split()


def paths(deb):
    """The paths in a package."""
    content = subprocess.run(["dpkg-deb", "--fsys-tarfile", deb], check=True, capture_output=True).stdout
    listing = subprocess.run(["tar", "--list"], input=content, check=True, capture_output=True).stdout.decode()
    return [line.removeprefix("./").rstrip("/") for line in listing.splitlines()]


class Image:
    """Files of the image with their reasons."""

    def __init__(self, options):
        self.options, self.root, self.packages = options, elf.Root(options.root), Packages(options.debs)
        self.system, self.own, self.contents, self.used = {}, {}, [], set()

    def add(self, path, real, reason):
        """A file of a package. Links to files are replaced by the files."""
        relative = str(Path(real).resolve().relative_to(self.root.path.resolve()))
        package = self.packages.owner(relative)
        self.used.add(package)
        content = Path(real).read_bytes()
        self.system[path] = (path, 0o755 if os.access(real, os.X_OK) else 0o644, content)
        self.contents.append((path, len(content), f"{package} {self.packages.versions[package]}", reason))

    def add_own(self, path, mode, content, reason):
        """A file of ours."""
        self.own[path] = (path, mode, content)
        self.contents.append((path, len(content), "Pointsman", reason))

    def fill(self):
        """Adds everything."""
        options = self.options
        programs = [options.binary]
        for link, target in packages.LINKS.items():
            self.system[link] = (link, 0o777, target)
        if options.variant == "takeover":
            for path, (links, reason) in packages.PROGRAMS.items():
                programs.append(self.root.path / path)
                self.add(path, self.root.path / path, reason)
                for link in links:
                    self.system[link] = (link, 0o777, "/" + path)
            for path, reason in packages.FILES.items():
                self.add(path, self.root.path / path, reason)
            pattern, reason = packages.EXTENSIONS
            for file in sorted(self.root.path.glob(pattern)):
                if elf.is_elf(file) and not file.is_symlink():
                    self.add(str(file.relative_to(self.root.path)), file, reason)
                    programs.append(file)
        reasons = self.root.closure(programs)
        for loader in sorted({elf.interpreter(program) for program in programs} - {None}):
            real = (self.root.path / ("usr" + loader)).resolve()
            reasons[real] = "every program, whose start it is"
            target = str(real.relative_to(self.root.path.resolve()))
            if target != "usr" + loader:
                self.system["usr" + loader] = ("usr" + loader, 0o777, "/" + target)
        resolved = {path.parent.resolve() / path.name: reason for path, reason in reasons.items()}
        for path, reason in sorted(resolved.items()):
            reason = reason.replace(options.binary.name, "pointsman")
            self.add(str(path.relative_to(self.root.path.resolve())), path, f"needed by {reason}")
        self.system["etc/nsswitch.conf"] = ("etc/nsswitch.conf", 0o644, packages.NSSWITCH)
        self.contents.append(("etc/nsswitch.conf", len(packages.NSSWITCH), "Pointsman", "look-ups of names ask /etc/hosts, then DNS"))
        for package in sorted(self.used):
            real = self.root.path / DOC / package / "copyright"
            if real.exists():
                self.add(f"{DOC}/{package}/copyright", real, f"the licence of {package}")
        self.add_own(BINARY, 0o755, options.binary.read_bytes(), "the program")
        self.add_own(f"{DOC}/pointsman/LICENSE", 0o644, Path("LICENSE").read_bytes(), "its licence")
        licences = oci.compress(options.licences.read_bytes())
        self.add_own(f"{DOC}/pointsman/licences.txt.gz", 0o644, licences, "the licences of the crates in it")
        self.own[f"{DOC}/pointsman/contents.txt"] = (f"{DOC}/pointsman/contents.txt", 0o644, self.table().encode())

    def table(self):
        """What is in the image, as text."""
        return "".join(f"/{path}\t{size}\t{source}\t{reason}\n" for path, size, source, reason in sorted(self.contents))

    def check(self):
        """The C library in the image has what the binary needs, and the binary starts with it."""
        loader = self.options.root / ("usr" + elf.interpreter(self.options.binary))
        library = self.root.find("libc.so.6")
        wanted = elf.glibc_version(self.options.binary)
        command = [str(loader), "--library-path", str(library.parent), str(self.options.binary), "--version"]
        started = subprocess.run(command, capture_output=True, text=True)
        if started.returncode != 0 or self.options.version not in started.stdout:
            raise SystemExit(f"image: the binary needs glibc {'.'.join(map(str, wanted))} and does not start: {started.stderr}")

    def configuration(self):
        """The configuration of the image, without layers."""
        options = self.options
        created = datetime.datetime.fromtimestamp(options.epoch, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        labels = {
            "org.opencontainers.image.title": "pointsman",
            "org.opencontainers.image.description": packages.DESCRIPTION[options.variant],
            "org.opencontainers.image.version": options.version,
            "org.opencontainers.image.revision": options.commit.split(" ")[0],
            "org.opencontainers.image.created": created,
            "org.opencontainers.image.licenses": "Apache-2.0",
        }
        return {
            "created": created,
            "architecture": ARCHITECTURES[self.packages.architecture],
            "os": "linux",
            "config": {
                # nf_tables requires CAP_NET_ADMIN. A runtime grants capabilities only to root, or through capabilities of files, which
                # no-new-privileges disables. deploy/base drops every other capability.
                "User": "0:0",
                "Env": ["PATH=/usr/local/bin:/usr/sbin:/usr/bin"],
                "Entrypoint": ["/" + BINARY],
                "Labels": labels,
            },
        }


def main():
    """Builds the archive and prints its name, its digest and its size."""
    options = arguments()
    image = Image(options)
    image.check()
    image.fill()
    layers = [
        (f"files of Debian {packages.RELEASE}", list(image.system.values())),
        (f"pointsman {options.version}", list(image.own.values())),
    ]
    content, digest = oci.archive(layers, image.configuration(), options.reference, options.epoch)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_bytes(content)
    options.output.with_suffix(".contents.txt").write_text(image.table())
    used = sorted(f"{name} {image.packages.versions[name]}" for name in image.used)
    options.output.with_suffix(".packages.txt").write_text("".join(line + "\n" for line in used))
    print(f"{options.output.name}\t{digest}\t{len(content) / 1e6:.1f} MB\t{len(image.contents)} files\t{options.reference}")


if __name__ == "__main__":
    sys.exit(main())
