"""Settings come from the app and the environment, are validated once, and never show a password."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from pydantic import ValidationError

from dispatch_celery.config import Settings, load_settings, redact_url
from dispatch_celery.errors import ConfigurationError
from dispatch_celery.retry import Constant, Retry


def test_the_defaults_are_valid() -> None:
    """Nothing has to be set."""
    assert load_settings({}, {}) == Settings()


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("lease", 10, 10_000),
        ("lease", 10.5, 10_500),
        ("lease", timedelta(seconds=9), 9_000),
        ("namespace", "shop-1", "shop-1"),
        ("journal", 100, 100),
        ("liveness_hint", False, False),
        ("default_retry", Retry(5, Constant(1)), Retry(5, Constant(1))),
        ("redis_url", "redis://h/1", "redis://h/1"),
    ],
)
def test_a_setting_is_read_from_the_app(name: str, value: object, stored: object) -> None:
    """Durations are seconds or timedeltas where they are set and milliseconds inside."""
    assert getattr(load_settings({f"dispatch_{name}": value}, {}), name) == stored


@pytest.mark.parametrize(
    ("variable", "text", "name", "stored"),
    [
        ("DISPATCH_LEASE", "10.5", "lease", 10_500),
        ("DISPATCH_NAMESPACE", "shop", "namespace", "shop"),
        ("DISPATCH_JOURNAL", "100", "journal", 100),
        ("DISPATCH_LIVENESS_HINT", "false", "liveness_hint", False),
        ("DISPATCH_REDIS_URL", "redis://h/1", "redis_url", "redis://h/1"),
    ],
)
def test_a_setting_is_read_from_the_environment(variable: str, text: str, name: str, stored: object) -> None:
    """Text from the environment becomes the setting's type."""
    assert getattr(load_settings({}, {variable: text}), name) == stored


def test_the_environment_wins() -> None:
    """A variable overrides the app's own value; other settings stay."""
    settings = load_settings({"dispatch_lease": 20, "dispatch_namespace": "app"}, {"DISPATCH_LEASE": "30"})

    assert (settings.lease, settings.namespace) == (30_000, "app")


def test_other_names_are_not_ours() -> None:
    """Celery's own settings, and keys that are no text, are none of this package's business."""
    assert load_settings({"broker_url": "x", 5: "y", "Dispatch": 1}, {"PATH": "/"}) == Settings()


@pytest.mark.parametrize(
    ("name", "meant"),
    [("dispatch_leese", "dispatch_lease"), ("dispatch_redis_uri", "dispatch_redis_url")],
)
def test_an_unknown_setting_is_refused_with_what_was_meant(name: str, meant: str) -> None:
    """A typing error in the app is told at once, with the nearest known name."""
    with pytest.raises(ConfigurationError, match=rf"app\.conf\.{name}; did you mean {meant}\?"):
        load_settings({name: 1}, {})


def test_nothing_is_meant_by_nonsense() -> None:
    """A name that is near nothing gets no guess, but a pointer to the list."""
    with pytest.raises(ConfigurationError, match=r"docs/settings\.md"):
        load_settings({"dispatch_zzzzzzz": 1}, {})


def test_an_unknown_variable_is_only_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """Platforms inject variables; a typing error among them is still told."""
    with caplog.at_level(logging.WARNING):
        settings = load_settings({}, {"DISPATCH_LEESE": "5", "DISPATCH_SERVICE_HOST": "10.0.0.1"})

    assert settings == Settings()
    assert "DISPATCH_LEESE; did you mean DISPATCH_LEASE?" in caplog.text
    assert "DISPATCH_SERVICE_HOST" in caplog.text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("namespace", "a b"),
        ("namespace", ""),
        ("namespace", "x" * 65),
        ("namespace", "{tag}"),
        ("lease", "soon"),
        ("lease", ""),
        ("lease", True),
        ("lease", None),
        ("lease", float("nan")),
        ("lease", float("inf")),
        ("lease", -1),
        ("lease", 0.1),
        ("max_crashes", 0),
        ("max_payload", 100),
        ("journal", -1),
        ("journal", 10_000_001),
        ("default_retry", 3),
        ("redis_url", 5),
        ("transport", "perhaps"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(name: str, value: object) -> None:
    """The error names the setting in both of its spellings."""
    with pytest.raises(ConfigurationError, match=rf"dispatch_{name} \(or DISPATCH_{name.upper()}\)"):
        load_settings({f"dispatch_{name}": value}, {})


def test_a_lease_outlives_one_lost_renewal() -> None:
    """A lease under two renewals is refused, and the error tells both numbers."""
    with pytest.raises(ConfigurationError, match=r"dispatch_lease \(3 s\).*twice dispatch_renew_every \(2 s\)"):
        load_settings({"dispatch_lease": 3}, {})
    assert load_settings({"dispatch_lease": 4}, {}).lease == 4_000


@pytest.mark.parametrize("url", ["redis://:s3cret@h:1/0", "redis://me:s3cret@h/0", "redis://me:s3c@ret@h/0"])
def test_an_error_shows_no_password(url: str) -> None:
    """A URL that ends up in the wrong setting is not shown at all."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings({"dispatch_namespace": url}, {})
    assert "s3c" not in str(caught.value)


def test_an_error_shows_no_password_of_a_structure_either() -> None:
    """A mapping with a password in place of a URL is not shown."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings({"dispatch_redis_url": {"host": "h", "password": "s3cret"}}, {})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://:pw@h:1/0", "redis://:***@h:1/0"),
        ("rediss://me:pw@h:1/0?ssl_cert_reqs=none", "rediss://me:***@h:1/0?ssl_cert_reqs=none"),
        ("redis://me:p@w/x@h/0", "redis://me:***@h/0"),
        ("unix:///tmp/redis.sock", "unix:///tmp/redis.sock"),
        ("no url", "no url"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    """User, host and the rest stay, so that the reader knows which server is meant."""
    assert redact_url(url) == shown


def test_no_password_of_several_sentinels_is_shown() -> None:
    """Every part of a sentinel URL may carry a password."""
    assert "pw" not in redact_url("sentinel://:pw1@a:26379;sentinel://:pw2@b:26379/0")


def test_a_password_in_the_query_is_not_shown() -> None:
    """``redis://h/0?password=...`` is a password, too."""
    assert "s3cret" not in redact_url("redis://h/0?password=s3cret")


def test_a_duration_beyond_ten_years_is_a_mistake() -> None:
    """A wait no clock can hold is refused where it is set, not where a script overflows."""
    with pytest.raises(ConfigurationError, match="dispatch_retain_completed"):
        load_settings({"dispatch_retain_completed": 1e300}, {})


def test_settings_cannot_be_changed() -> None:
    """They are read once, and are the same for every part."""
    with pytest.raises(ValidationError, match="frozen"):
        Settings().lease = 1  # type: ignore[misc]  # the point of the test
