"""An authority of the tests' own, made with openssl: certificates for this machine, good and bad ones."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

NAMES = "IP:127.0.0.1"
_CONFIG = """
[ca]
default_ca = own
[own]
new_certs_dir = {folder}
database = {folder}/index.txt
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
copy_extensions = copy
[any]
commonName = supplied
[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
"""


def missing() -> str:
    """What is not here to make certificates; empty where all is."""
    return "" if shutil.which("openssl") else "no openssl: install it (Debian: apt-get install openssl)"


class Authority:
    """Signs certificates for 127.0.0.1, and for no other name.

    Parameters
    ----------
    folder
        Where keys and certificates are.
    """

    def __init__(self, folder: Path, name: str = "tests") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.txt").touch()
        self._config = folder / "openssl.cnf"
        self._config.write_text(_CONFIG.format(folder=folder, name=name))
        self.ca = folder / "ca.pem"
        self._key = folder / "ca.key"
        request: list[str | Path] = ["req", "-x509", "-extensions", "authority", "-days", "2", "-out", self.ca]
        self._openssl(*request, *self._new_key(self._key))

    def sign(self, name: str, until: str = "") -> tuple[Path, Path]:
        """A certificate and its key, as two files.

        Parameters
        ----------
        name
            Of the files.
        until
            When it ends, ``YYYYMMDDHHMMSSZ``; by default in two days.
        """
        key, request, signed = (self.folder / f"{name}.{end}" for end in ("key", "csr", "pem"))
        self._openssl("req", "-new", "-addext", f"subjectAltName={NAMES}", "-out", request, *self._new_key(key))
        dates = ("-startdate", "20200101000000Z", "-enddate", until) if until else ("-days", "2")
        signing: list[str | Path] = [
            "ca",
            "-batch",
            "-notext",
            "-in",
            request,
            "-out",
            signed,
            "-cert",
            self.ca,
            "-keyfile",
            self._key,
        ]
        self._openssl(*signing, *dates, "-config", self._config)
        return signed, key

    def _new_key(self, path: Path) -> list[str | Path]:
        new: list[str | Path] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-keyout", path]
        return [*new, "-config", self._config]

    def _openssl(self, *arguments: str | Path) -> None:
        done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
