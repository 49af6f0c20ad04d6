"""The keys that a first start makes up (E09), and when it must not."""

import stat
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from sequin_auth import development
from sequin_auth.lib.key_ring import KeyRing


def values(env_file: Path) -> dict[str, str]:
    lines = [line for line in env_file.read_text().splitlines() if not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_it_makes_no_keys_where_data_of_others_is(tmp_path: Path) -> None:
    (tmp_path / "postgres" / "data").mkdir(parents=True)

    with pytest.raises(ImproperlyConfigured, match="is gone, and without its keys the data"):
        development.prepare({"VAR_DIR": str(tmp_path)})

    assert not (tmp_path / "development.env").exists()


def test_it_makes_no_keys_without_a_file_for_them(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match="ENV_FILE is set to nothing"):
        development.prepare({"VAR_DIR": str(tmp_path), "ENV_FILE": ""})


def test_it_makes_no_keys_if_the_environment_has_them(tmp_path: Path) -> None:
    environment = {"VAR_DIR": str(tmp_path), "SECRET_KEY": "s", "ENCRYPTION_KEYS": "k"}

    assert development.prepare(environment) is None
    assert list(tmp_path.iterdir()) == []


def test_it_replaces_no_keys(tmp_path: Path) -> None:
    """Nor those of another start that was faster by a moment."""
    env_file = tmp_path / "development.env"
    env_file.write_text("SECRET_KEY=first\n")

    assert development.prepare({"VAR_DIR": str(tmp_path)}) is None
    with pytest.raises(FileExistsError):
        development.write_private(env_file, "SECRET_KEY=second\n", replace=False)

    assert env_file.read_text() == "SECRET_KEY=first\n"
    assert list(tmp_path.iterdir()) == [env_file]


def test_it_makes_keys_of_its_own_for_its_owner_alone(tmp_path: Path) -> None:
    first, second = (tmp_path / name / "var" for name in ("first", "second"))

    env_file = development.prepare({"VAR_DIR": str(first)})
    development.prepare({"VAR_DIR": str(second)})

    assert env_file == first / "development.env"
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(first.stat().st_mode) == 0o700
    one, other = values(env_file), values(second / "development.env")
    assert one.keys() == {"SECRET_KEY", "ENCRYPTION_KEYS"}
    assert not set(one.values()) & set(other.values())
    assert (
        KeyRing.parse(one["ENCRYPTION_KEYS"]).sealing_key_id != KeyRing.parse(other["ENCRYPTION_KEYS"]).sealing_key_id
    )
    assert len(one["SECRET_KEY"]) >= 50


def test_a_directory_that_others_may_read_is_closed_to_them(tmp_path: Path) -> None:
    """Passing through stays allowed where it was: as root, PostgreSQL runs as another user."""
    tmp_path.chmod(0o755)

    development.prepare_directory(tmp_path)

    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o711
