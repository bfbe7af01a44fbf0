"""Packs a folder into a .tar.gz that is the same for the same files: names are sorted, owners are root, times are the commit's.

Usage: archive.py FOLDER NAME-INSIDE EPOCH OUTPUT
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "image"))
import oci


def main():
    """Packs the folder. Links are followed."""
    folder, name, epoch, output = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    entries = []
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            mode = 0o755 if os.access(file, os.X_OK) else 0o644
            entries.append((f"{name}/{file.relative_to(folder)}".removeprefix("./"), mode, file.read_bytes()))
    output.write_bytes(oci.compress(oci.tar(oci.with_folders(entries), epoch)))


if __name__ == "__main__":
    main()
