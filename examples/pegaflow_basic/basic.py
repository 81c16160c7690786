"""Put, get, remove and verify: the first steps with the storage engine."""

import hashlib
import os
import tempfile

from pegaflow import PegaEngine


def main() -> None:
    """Store some values, read them in three ways, and find them again after reopening."""
    values = {f"value/{i}": os.urandom(1 << 16) for i in range(32)}
    digests = {key: hashlib.sha256(value).digest() for key, value in values.items()}
    buffer = bytearray(1 << 16)

    with tempfile.TemporaryDirectory() as directory:
        with PegaEngine(directory, memory_bytes=1 << 20, disk_bytes=1 << 26) as engine:
            engine.put_many(values)
            with engine.transaction() as tx:
                tx.put("greeting", b"hello")
                tx.remove("value/0")
            print(f"stored {len(engine)} keys, {engine.stats()['memory_used_bytes'] >> 10} KiB of them in memory")

        with PegaEngine(directory, memory_bytes=1 << 20, disk_bytes=1 << 26) as engine:
            for key in sorted(values.keys() - {"value/0"}):
                engine.get_into(key, buffer)
                assert hashlib.sha256(buffer).digest() == digests[key], key
                assert engine.get(key) == engine.get_view(key) == values[key], key
            print(f"verified {len(values) - 1} values after reopening")
            print(f"greeting: {(engine.get('greeting') or b'').decode()}, value/0: {engine.get('value/0')}")
            print(f"removed: {engine.remove('greeting')}, again: {engine.remove('greeting')}")


if __name__ == "__main__":
    main()
