"""Encrypted to public keys: nobody without a key reads anything but the manifest, and nothing lies in the clear."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyrage
import pytest

from dbctl.backup.encryption import Keyring
from dbctl.backup.make import make_backup
from dbctl.backup.model import Request
from dbctl.backup.verify import verify_bytes
from dbctl.errors import Corrupt, Refused, SettingsError, ToolMissing
from tests.backup.conftest import Room
from tests.backup.test_proof import prove


class Keys:
    """Two age keys, and the files that hold them."""

    def __init__(self, folder: Path) -> None:
        made = [pyrage.x25519.Identity.generate() for _ in range(3)]
        self.public = tuple(str(one.to_public()) for one in made)
        self.files = [folder / f"key{number}" for number in range(3)]
        for file, one in zip(self.files, made, strict=True):
            file.write_text(f"# created: today\n# public key: {one.to_public()}\n\n{one}\n")

    def ring(self, number: int) -> Keyring:
        return Keyring.read(self.files[number])


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


SECRET = "the cat is under the rug"


@pytest.fixture
def secret_room(room: Room) -> Room:
    room.execute(
        f"CREATE TABLE secrets AS SELECT '{SECRET}' || n AS text FROM generate_series(1, 20000) AS n"
    )
    return room


async def test_each_recipient_restores_and_proves_it_and_nobody_else(secret_room: Room, keys: Keys):
    made = await secret_room.backup(
        request=Request(digests=True), encrypt_to=keys.public[:2], compression="none"
    )
    assert made.manifest
    assert made.manifest.encrypted_to == keys.public[:2]
    assert {one.name for one in Path(made.path).iterdir()} == {
        "manifest.json", "archive.dump.age", "catalog.json.age", "globals.sql.age",
    }  # fmt: skip
    for file in Path(made.path).iterdir():
        assert SECRET.encode() not in file.read_bytes(), file
    assert (await verify_bytes(made)).good
    for number in (0, 1):
        assert (await prove(replace(secret_room, keyring=keys.ring(number)), made)).problem == ""
    for keyring in (keys.ring(2), Keyring(())):
        stranger = replace(secret_room, keyring=keyring)
        with pytest.raises(Refused, match="encrypted"):
            await prove(stranger, made)
        with pytest.raises(Refused, match="encrypted"):
            await stranger.restore(made)
    secret_room.execute("DROP TABLE secrets")
    await replace(secret_room, keyring=keys.ring(1)).restore(made)
    assert secret_room.execute("SELECT count(*) FROM secrets") == [(20000,)]


async def test_no_plaintext_reaches_the_disk_at_any_moment(
    secret_room: Room, keys: Keys, monkeypatch: pytest.MonkeyPatch
):
    opened: list[tuple[str, str]] = []
    really = builtins.open

    def spy(file: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
        opened.append((str(file), mode))
        return really(file, mode, *rest, **more)

    monkeypatch.setattr(builtins, "open", spy)
    made = await secret_room.backup(encrypt_to=keys.public[:1], compression="none", jobs=4)
    written = {Path(name).name for name, mode in opened if set(mode) & set("wax+")}
    assert written - {"uid_map", "gid_map", "setgroups", ".lock"} <= {
        "archive.dump.age", "catalog.json.age", "globals.sql.age", "manifest.json",
    }  # fmt: skip
    assert made.manifest


@pytest.mark.parametrize("wrong", ["age1nonsense", "AGE-SECRET-KEY-1QQQ", "ssh-ed25519 AAAA", ""])
async def test_a_wrong_key_ends_it_before_anything_is_written(room: Room, wrong: str):
    with pytest.raises(SettingsError, match="encrypt_to"):
        await room.backup(encrypt_to=(wrong,))
    assert not room.folder.path.exists()


async def test_without_pyrage_nothing_is_written_in_the_clear_instead(
    room: Room, keys: Keys, monkeypatch: pytest.MonkeyPatch
):
    import sys

    monkeypatch.setitem(sys.modules, "pyrage", None)
    with pytest.raises(ToolMissing, match="can't be encrypted"):
        await room.backup(encrypt_to=keys.public)
    assert not room.folder.path.exists()


async def test_a_disk_that_fills_up_behind_the_cipher_ends_the_dump(
    secret_room: Room, keys: Keys, monkeypatch: pytest.MonkeyPatch
):
    from dbctl.backup.staging import MemberFile
    from dbctl.errors import Failed

    really = MemberFile.write

    def full(self: MemberFile, chunk: bytes) -> None:
        if self.size_bytes > 200_000:
            raise Failed("can't write", why="No space left on device")
        really(self, chunk)

    monkeypatch.setattr(MemberFile, "write", full)
    with pytest.raises(Failed, match="No space left"):
        await secret_room.backup(encrypt_to=keys.public[:1], compression="none")
    assert secret_room.folder.backups() == ()
    assert secret_room.leftovers() == []


async def test_a_proof_that_could_not_read_its_backup_is_refused_before_the_dump(room: Room, keys: Keys):
    settings = room.settings.model_copy(update={"encrypt_to": keys.public})
    loaded = room.target.settings
    target = replace(
        room.target,
        settings=replace(loaded, settings=loaded.settings.model_copy(update={"backup": settings})),
    )
    with pytest.raises(Refused, match="no key here"):
        await make_backup(target, [room.folder], Request(), prove=True)
    assert not room.folder.path.exists()


async def test_ciphertext_that_fails_on_the_way_ends_the_restore(
    secret_room: Room, keys: Keys, reseal: Callable[..., Any]
):
    """As if it were changed between the check of its bytes and the restore."""
    from dbctl.backup.archive import Archive

    made = await secret_room.backup(encrypt_to=keys.public[:1], compression="none")
    file = Path(made.path) / "archive.dump.age"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(Corrupt, match="can't be decrypted"):
        async for _ in keys.ring(0).stream(Archive(made, keys.ring(0)).path):
            pass


def test_a_key_file_that_holds_none_shows_nothing_of_it(tmp_path: Path):
    (tmp_path / "key").write_text("AGE-SECRET-KEY-1THISISNOTAKEYBUTLOOKSLIKEONE\n")
    with pytest.raises(SettingsError) as caught:
        Keyring.read(tmp_path / "key")
    assert "LOOKSLIKE" not in f"{caught.value} {caught.value.hint}"
    with pytest.raises(SettingsError, match="can't be read"):
        Keyring.read(tmp_path / "none")


def test_a_keyring_shows_no_key(keys: Keys):
    assert "AGE-SECRET" not in repr(keys.ring(0)) + str(keys.ring(0))
