"""Real packages, put into a root of its own by each packaging system's tool: what we say of them is what it says."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from agent.facts.collectors.software import software_section
from agent.facts.collectors.updates import updates_section
from agent.facts.parsers.apt import parse_apt_upgrades
from agent.facts.parsers.dnf import parse_dnf_advisories, parse_dnf_upgrades
from agent.facts.parsers.flatpak import UPDATE_COLUMNS, parse_flatpak_updates
from agent.facts.parsers.pacman import parse_pacman_upgrades
from agent.facts.parsers.zypper import parse_zypper_patches, parse_zypper_updates
from agent.facts.source import Asked, Hung
from agent.facts.sources import places
from agent.facts.sources.packages import software_version
from protocol.sections.software import Package, Software
from protocol.sections.updates import Broken
from protocol.system_clock import SystemClock
from tests.support.daemons import need
from tests.support.packaging import make_deb, make_pacman_list, make_pacman_package, make_rpm, run

CLOCK = SystemClock()

ADVISORY = """\
<updates><update from="a@b.example" status="stable" type="security" version="1">
<id>LAB-1</id><title>lamp</title><severity>Important</severity><issued date="2026-11-01 00:00:00"/>
<description>d</description><pkglist><collection short="lab"><name>lab</name>
<package name="lamp" version="1.0" release="1" epoch="2" arch="noarch" src="lamp-1.0-1.src.rpm">
<filename>lamp-1.0-1.noarch.rpm</filename></package></collection></pkglist></update></updates>
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the agent looks for everything."""
    path = tmp_path / "root"
    path.mkdir()
    monkeypatch.setattr(places, "ROOT", path)
    return path


def asked() -> Asked:
    return Asked(Hung(), CLOCK, CLOCK.monotonic() + 60, platform="linux")


def said(system: str) -> dict[str, Package]:
    section: Software = software_section(asked())
    assert system in section.systems and section.unavailable == {}
    return {package.name: package for package in section.packages if package.system == system}


def test_rpm_s_packages_are_what_rpm_says_also_after_an_upgrade(root: Path, tmp_path: Path) -> None:
    need("rpm", "rpmbuild")
    rpm = ("rpm", "--dbpath", str(root / "var/lib/rpm"))
    first = make_rpm(tmp_path, "lamp", "1.0~rc1", "Epoch: 2")
    run(*rpm, "-i", "--justdb", "--nodeps", str(first), str(make_rpm(tmp_path, "oil", "3^git1")))
    form = "%{NAME}|%{EVR}|%{ARCH}|%{INSTALLTIME}|%{VENDOR}\\n"

    def as_rpm_says() -> list[str]:
        return sorted(run(*rpm, "-qa", "--queryformat", form).splitlines())

    def as_we_say() -> list[str]:
        ours = said("rpm").values()
        return sorted(f"{p.name}|{p.version}|{p.architecture}|{p.installed_at}|{p.vendor}" for p in ours)

    assert as_we_say() == as_rpm_says() and "lamp|2:1.0~rc1-1|noarch" in as_we_say()[0]
    assert said("rpm")["lamp"].source == "lamp"
    before = software_version()
    run(*rpm, "-U", "--justdb", "--nodeps", str(make_rpm(tmp_path, "lamp", "1.0", "Epoch: 2")))
    assert software_version() != before
    assert as_we_say() == as_rpm_says() and "2:1.0-1" in as_we_say()[0]


def test_dnf_s_updates_and_their_advisories_are_read_from_what_it_says(root: Path, tmp_path: Path) -> None:
    need("rpm", "rpmbuild", "dnf", "createrepo_c", "modifyrepo_c")
    repository = with_newer_packages(root, tmp_path)
    dnf = ("dnf", "-q", f"--installroot={root}", "--releasever=1", f"--repofrompath=lab,file://{repository}")
    dnf += ("--repo=lab", f"--setopt=cachedir={tmp_path}/cache", "--setopt=gpgcheck=0")
    dnf += (f"--setopt=persistdir={tmp_path}/persist",)
    run(*dnf, "makecache")
    listed = run(*dnf, "-C", "check-update", good=(100,))
    security = parse_dnf_advisories(run(*dnf, "-C", "updateinfo", "list", "--security"))
    found = parse_dnf_upgrades(listed, security).updates
    assert [(u.name, u.version, u.architecture, u.origin, u.security) for u in found] == [
        ("lamp", "2:1.0-1", "noarch", "lab", True),
        ("oil", "2-1", "noarch", "lab", False),
    ]


def test_zypper_s_updates_and_patches_are_read_from_what_it_says(root: Path, tmp_path: Path) -> None:
    need("rpm", "rpmbuild", "zypper", "createrepo_c", "modifyrepo_c")
    repository = with_newer_packages(root, tmp_path)
    zypper = ("zypper", "--root", str(root), "--non-interactive", "--no-gpg-checks")
    run(*zypper, "addrepo", f"file://{repository}", "lab")
    run(*zypper, "refresh")
    asked_of = (*zypper, "--no-refresh", "--quiet")
    updates = parse_zypper_updates(run(*asked_of, "list-updates")).updates
    assert [(u.name, u.installed, u.version, u.origin) for u in updates] == [
        ("lamp", "2:1.0~rc1-1", "2:1.0-1", "lab"),
        ("oil", "1-1", "2-1", "lab"),
    ]
    patches = parse_zypper_patches(run(*asked_of, "list-patches", "--category", "security")).updates
    assert [(u.name, u.security, u.origin) for u in patches] == [("LAB-1", True, "lab")]


def with_newer_packages(root: Path, tmp_path: Path) -> Path:
    """Two packages in `root`, and a repository with newer ones, of which an advisory calls one a security fix."""
    repository = tmp_path / "repository"
    repository.mkdir()
    old, oil = make_rpm(tmp_path, "lamp", "1.0~rc1", "Epoch: 2"), make_rpm(tmp_path, "oil", "1")
    for made in (make_rpm(tmp_path, "lamp", "1.0", "Epoch: 2"), make_rpm(tmp_path, "oil", "2")):
        made.rename(repository / made.name)
    run("createrepo_c", "-q", str(repository))
    (tmp_path / "updateinfo.xml").write_text(ADVISORY)
    run("modifyrepo_c", str(tmp_path / "updateinfo.xml"), str(repository / "repodata"))
    database = root / run("rpm", "--eval", "%{_dbpath}").strip().lstrip("/")  # where Debian's dnf and zypper look
    run("rpm", "--dbpath", str(database), "-i", "--justdb", "--nodeps", str(old), str(oil))
    (root / "etc").mkdir()
    (root / "etc/os-release").write_text("ID=test\nVERSION_ID=1\n")
    return repository


def test_pacman_s_packages_and_upgrades_are_what_pacman_says(root: Path, tmp_path: Path) -> None:
    need("pacman")
    database, repository = root / "var/lib/pacman", tmp_path / "repository"
    for folder in (database, repository):
        folder.mkdir(parents=True)
    config = tmp_path / "pacman.conf"
    config.write_text(f"[options]\nArchitecture = auto\nSigLevel = Never\n[lab]\nServer = file://{repository}\n")
    pacman = ("pacman", "--config", str(config), "--root", str(root), "--dbpath", str(database), "--noconfirm")
    pacman += ("--cachedir", str(tmp_path / "cache"), "--hookdir", str(tmp_path), "--logfile", str(tmp_path / "log"))
    started = int(time.time())
    run(*pacman, "-U", str(make_pacman_package(tmp_path, "lamp", "1:2.0-1")))
    ours = said("pacman")
    assert {f"{p.name} {p.version}" for p in ours.values()} == set(run(*pacman, "-Q").splitlines())
    lamp = ours["lamp"]
    assert (lamp.source, lamp.size_kib, lamp.vendor, lamp.architecture) == ("lamp-base", 4, "Somebody", "any")
    assert lamp.installed_at is not None and 0 <= lamp.installed_at - started <= 120
    make_pacman_list(repository / "lab.db", make_pacman_package(repository, "lamp", "1:2.0-2"))
    run(*pacman, "-Sy")
    [upgrade] = parse_pacman_upgrades(run(*pacman, "-Qu")).updates
    assert (upgrade.name, upgrade.installed, upgrade.version) == ("lamp", "1:2.0-1", "1:2.0-2")


def test_what_dpkg_left_half_done_and_what_is_held_are_told_apart(root: Path, tmp_path: Path) -> None:
    need("dpkg", "dpkg-deb")
    for folder in ("var/lib/dpkg/info", "var/lib/dpkg/updates"):
        (root / folder).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    dpkg = ("dpkg", f"--root={root}", "--force-not-root", "--force-script-chrootless", f"--log={tmp_path}/log")
    started = int(time.time())
    run(*dpkg, "-i", str(make_deb(tmp_path, "lamp", "1.0")))
    run(*dpkg, "-i", str(make_deb(tmp_path, "wick", "1.0", postinst="#!/bin/sh\nexit 3\n")), good=(1,))
    selections = tmp_path / "selections"
    selections.write_text("lamp hold\n")
    run("sh", "-c", f"dpkg --root={root} --set-selections < {selections}")
    ours = said("dpkg")
    assert list(ours) == ["lamp"] and ours["lamp"].vendor == "A B"
    installed_at = ours["lamp"].installed_at
    assert installed_at is not None and 0 <= installed_at - started <= 120
    section = updates_section(asked())
    assert section.broken == (Broken(name="wick", state="half-configured"),) and section.held == ("lamp",)
    assert "wick" in run("dpkg", f"--root={root}", "--audit", good=(0, 1))


def test_flatpak_s_applications_are_what_flatpak_says(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("flatpak")
    env = {"FLATPAK_SYSTEM_DIR": str(root / "var/lib/flatpak"), "HOME": str(tmp_path)}
    env["XDG_DATA_HOME"] = str(tmp_path / "data")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    export = ("flatpak", "build-export", "--runtime", "--arch=x86_64", str(tmp_path / "repo"))
    for branch in ("23.08", "24.08"):
        tree = tmp_path / f"tree-{branch}"
        for folder in ("usr", "files"):
            (tree / folder).mkdir(parents=True)
        (tree / "usr/one").write_text(branch * 3000)
        (tree / "metadata").write_text(f"[Runtime]\nname=org.example.Lamp\nruntime=org.example.Lamp/x86_64/{branch}\n")
        run(*export, str(tree), branch)
    run("flatpak", "remote-add", "--system", "--no-gpg-verify", "lab", str(tmp_path / "repo"))
    installed = ("flatpak", "install", "--system", "--noninteractive", "--no-deps", "lab")
    run(*installed, "runtime/org.example.Lamp/x86_64/23.08")
    columns = "--columns=application,branch,arch,origin"
    theirs = [line.split("\t") for line in run("flatpak", "list", "--system", columns).splitlines()]
    ours = [[p.name, p.version, p.architecture, p.source] for p in said("flatpak").values()]
    assert ours == theirs == [["org.example.Lamp", "23.08", "x86_64", "lab"]]
    lamp = said("flatpak")["org.example.Lamp"]
    assert lamp.size_kib > 0 and lamp.installed_at is not None and abs(lamp.installed_at - time.time()) < 300
    (tmp_path / "tree-23.08/usr/one").write_text("newer")
    run(*export, str(tmp_path / "tree-23.08"), "23.08")
    asked_columns = f"--columns={','.join(UPDATE_COLUMNS)}"
    [update] = parse_flatpak_updates(run("flatpak", "remote-ls", "--system", "--updates", asked_columns)).updates
    assert (update.name, update.version, update.origin) == ("org.example.Lamp", "23.08", "lab")


def test_apt_s_updates_here_are_those_that_a_simulated_upgrade_would_install() -> None:
    need("apt", "apt-get")
    section = updates_section(asked())
    assert "dpkg" in section.systems
    simulated = parse_apt_upgrades(run("apt-get", "-s", "-qq", "-o", "Debug::NoLocking=1", "dist-upgrade")).updates
    ours = {(u.name, u.architecture): (u.version, u.installed, u.security) for u in section.updates}
    theirs = {(u.name, u.architecture): (u.version, u.installed, u.security) for u in simulated}
    assert {key: value for key, value in theirs.items() if ours.get(key) != value} == {}
    lists = Path("/var/lib/apt/lists")
    if any(lists.glob("*Packages*")):
        assert 0 < section.refreshed_at["dpkg"] <= time.time()
