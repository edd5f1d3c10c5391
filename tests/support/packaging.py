"""Packages made by the packaging systems themselves, tiny and put into a root of the test's own."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

SPEC = """\
Name: {name}
Version: {version}
Release: 1
{more}
Summary: a test's
License: none
Vendor: Test & Söhne
BuildArch: noarch
%description
nothing
%files
"""


def run(*command: str, env: Mapping[str, str] | None = None, good: tuple[int, ...] = (0,)) -> str:
    """What it prints; the test fails with what it said where it fails."""
    ran = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})}
    )
    assert ran.returncode in good, f"{command}: {ran.stdout}{ran.stderr}"
    return ran.stdout


def make_rpm(folder: Path, name: str, version: str, *more: str) -> Path:
    """more: lines of the spec file."""
    spec = folder / f"{name}.spec"
    spec.write_text(SPEC.format(name=name, version=version, more="\n".join(more)))
    top = folder / f"top-{name}-{version}"
    run("rpmbuild", "-bb", "--quiet", "--define", f"_topdir {top}", "--define", f"_tmppath {folder}", str(spec))
    return next(top.rglob("*.rpm"))


def make_pacman_package(folder: Path, name: str, version: str) -> Path:
    info = f"pkgname = {name}\npkgbase = {name}-base\npkgver = {version}\narch = any\nsize = 4096\n"
    path = folder / f"{name}-{version}-any.pkg.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for member, text in ((".PKGINFO", info + "packager = Somebody <a@b.example>\n"), (f"usr/share/{name}", "x")):
            entry = tarfile.TarInfo(member)
            entry.size = len(text)
            archive.addfile(entry, BytesIO(text.encode()))
    return path


def make_pacman_list(path: Path, package: Path) -> None:
    """What repo-add makes, which Debian's pacman lacks the parts for: a repository's list, of one package."""
    name, version, release, _ = package.name.rsplit("-", 3)
    fields = {"FILENAME": package.name, "NAME": name, "VERSION": f"{version}-{release}", "ARCH": "any"}
    fields["CSIZE"] = str(package.stat().st_size)
    text = "".join(f"%{field}%\n{value}\n\n" for field, value in fields.items())
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo(f"{name}-{version}-{release}/desc")
        entry.size = len(text)
        archive.addfile(entry, BytesIO(text.encode()))


def make_deb(folder: Path, name: str, version: str, *, postinst: str = "") -> Path:
    tree = folder / f"deb-{name}-{version}"
    (tree / "DEBIAN").mkdir(parents=True)
    control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: A B <a@b.example>\nDescription: x\n"
    (tree / "DEBIAN/control").write_text(control)
    (tree / "usr/share" / name).mkdir(parents=True)
    if postinst:
        (tree / "DEBIAN/postinst").write_text(postinst)
        (tree / "DEBIAN/postinst").chmod(0o755)
    path = folder / f"{name}-{version}.deb"
    run("dpkg-deb", "--build", "--root-owner-group", "-Znone", str(tree), str(path))
    return path
