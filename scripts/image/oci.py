"""Writes an image archive: an OCI image layout in a tar file, with the manifest.json of `docker save` beside it.

containerd, skopeo and podman read the layout. `kind load image-archive` and `docker load` read manifest.json. The same input gives the same
bytes: names are sorted, owners are root, and every time stamp is that of the commit.
"""

import gzip
import hashlib
import io
import json
import tarfile

LAYOUT = "application/vnd.oci.image"


def tar(entries, epoch):
    """A tar file. Entries are tuples of a path, a mode, and bytes, a string (the target of a link) or None (a folder)."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, mode, content in sorted(entries, key=lambda entry: entry[0]):
            info = tarfile.TarInfo(path)
            info.mode, info.mtime = mode, epoch
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return file.getvalue()


def with_folders(entries):
    """The entries, and every folder above them."""
    found = {path: (path, mode, content) for path, mode, content in entries}
    for path in list(found):
        parts = path.split("/")[:-1]
        for end in range(1, len(parts) + 1):
            found.setdefault("/".join(parts[:end]), ("/".join(parts[:end]), 0o755, None))
    return list(found.values())


def compress(content):
    """gzip without a name and a time. The packing depends on zlib only."""
    file = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=9, mtime=0) as archive:
        archive.write(content)
    return file.getvalue()


def sha256(content):
    """The digest of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def to_json(value):
    """JSON that is the same for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def archive(layers, config, reference, epoch):
    """The image archive as bytes, and the digest of the image.

    `layers` are lists of entries, lowest first, each with a comment. `config` is the image's configuration without its layers.
    """
    blobs, descriptors, diffs, history = {}, [], [], []
    for comment, entries in layers:
        content = tar(with_folders(entries), epoch)
        packed = compress(content)
        blobs[sha256(packed)] = packed
        descriptors.append({"mediaType": f"{LAYOUT}.layer.v1.tar+gzip", "digest": f"sha256:{sha256(packed)}", "size": len(packed)})
        diffs.append(f"sha256:{sha256(content)}")
        history.append({"created": config["created"], "created_by": "scripts/image", "comment": comment})

    def blob(value, media_type):
        content = to_json(value)
        blobs[sha256(content)] = content
        return {"mediaType": f"{LAYOUT}.{media_type}+json", "digest": f"sha256:{sha256(content)}", "size": len(content)}

    configuration = blob({**config, "rootfs": {"type": "layers", "diff_ids": diffs}, "history": history}, "config.v1")
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{LAYOUT}.manifest.v1+json",
        "config": configuration,
        "layers": descriptors,
        "annotations": config["config"]["Labels"],
    }
    image = blob(manifest, "manifest.v1")
    platform = {"architecture": config["architecture"], "os": config["os"]}
    # containerd takes the full name, skopeo the tag.
    names = {"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference.rpartition(":")[2]}
    index = {
        "schemaVersion": 2,
        "mediaType": f"{LAYOUT}.index.v1+json",
        "manifests": [{**image, "platform": platform, "annotations": names}],
    }
    path = lambda descriptor: "blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")
    docker = [{"Config": path(configuration), "RepoTags": [reference], "Layers": [path(layer) for layer in descriptors]}]
    files = {"oci-layout": to_json({"imageLayoutVersion": "1.0.0"}), "index.json": to_json(index), "manifest.json": to_json(docker)}
    files |= {f"blobs/sha256/{digest}": content for digest, content in blobs.items()}
    entries = with_folders([(name, 0o644, content) for name, content in files.items()])
    return tar(entries, epoch), image["digest"]
