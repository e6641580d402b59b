"""What is taken out of a TorchScript archive before it is committed."""

import struct
import zipfile


def drop_debug_records(path):
    """Takes the `.debug_pkl` records (source paths of the machine that traced) out of an archive; tensors stay 64-byte aligned."""
    with zipfile.ZipFile(path) as archive:
        records = [(info, archive.read(info)) for info in archive.infolist() if not info.filename.endswith(".debug_pkl")]
    with zipfile.ZipFile(path, "w") as archive:
        for info, data in records:
            fresh_info = zipfile.ZipInfo(info.filename, (1980, 0, 0, 0, 0, 0))
            fresh_info.compress_type = info.compress_type
            start = archive.fp.tell() + 30 + len(info.filename) + 4
            padding = -start % 64
            fresh_info.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
            archive.writestr(fresh_info, data)
