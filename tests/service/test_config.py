"""Settings: read once, checked, and silent about keys."""

from pathlib import Path

import pytest

from service.config import Config, find_page, load_config, variables
from service.errors import ConfigError


def test_the_environment_is_read_once_and_checked() -> None:
    environ = {
        "TOKENSPEED_PORT": "9000",
        "TOKENSPEED_ORIGINS": "https://a.example, https://b.example",
        "TOKENSPEED_IDLE_S": "5",
        "TOKENSPEED_LOG_TEXT": "1",
    }
    config = load_config(environ, host="::1", port=None)
    assert (config.port, config.host, config.limits.idle_s, config.log_text) == (
        9000,
        "::1",
        5.0,
        True,
    )
    assert config.origins == ("https://a.example", "https://b.example")
    config.check()
    for variable, value in (
        ("TOKENSPEED_PORT", "70000"),
        ("TOKENSPEED_LOG_TEXT", "yes"),
        ("TOKENSPEED_API_KEYS", "short"),
        ("TOKENSPEED_UPDATES_PER_S", "0"),
        ("TOKENSPEED_LOG_LEVEL", "loud"),
    ):
        with pytest.raises(ConfigError, match=variable):
            load_config({variable: value})


def test_keys_never_show() -> None:
    config = load_config({"TOKENSPEED_API_KEYS": "a-key-of-more-than-16"}, host="0.0.0.0")
    config.check()
    assert "a-key" not in repr(config)
    assert Config(host="localhost").is_loopback
    assert not Config(host="10.0.0.1").is_loopback


def test_a_checkout_has_the_page_beside_the_service_and_settings_may_say_another() -> None:
    assert (find_page() / "index.html").is_file()
    assert load_config({}).web == find_page()
    assert load_config({"TOKENSPEED_WEB": "/elsewhere"}).web == Path("/elsewhere")
    assert load_config({"TOKENSPEED_WEB": "/elsewhere"}, web=Path("/here")).web == Path("/here")


def test_every_setting_says_what_it_means_and_its_default_can_be_read() -> None:
    for variable, default in variables():
        assert variable.meaning
        if default not in ("", "the shipped one"):
            load_config({variable.name: default})
    shown = dict((variable.name, default) for variable, default in variables())
    assert shown["TOKENSPEED_PORT"] == "8000"
    assert shown["TOKENSPEED_ADMISSION"] == "1"
    assert shown["TOKENSPEED_IDLE_S"] == "60"
    assert (
        load_config({name: value for name, value in shown.items() if "shipped" not in value})
        == Config()
    )


def test_addresses_of_proxies_and_of_the_service_are_checked() -> None:
    config = load_config(
        {
            "TOKENSPEED_PROXIES": "10.0.0.0/8, ::1",
            "TOKENSPEED_PUBLIC_URL": "https://a.example/live/",
        }
    )
    assert (config.proxies, config.public_url) == (("10.0.0.0/8", "::1"), "https://a.example/live")
    for name, value in (
        ("PROXIES", "proxy"),
        ("PUBLIC_URL", "a.example"),
        ("PUBLIC_URL", "wss://a.example"),
        ("METRICS_PORT", "-1"),
    ):
        with pytest.raises(ConfigError, match=name):
            load_config({f"TOKENSPEED_{name}": value})
    with pytest.raises(ConfigError, match="METRICS_PORT"):
        load_config({}, port=9000, metrics_port=9000).check()


def test_there_are_more_connections_than_sessions() -> None:
    assert load_config({"TOKENSPEED_MAX_SESSIONS": "100"}).connections > 100
    with pytest.raises(ConfigError, match="MAX_CONNECTIONS"):
        load_config({"TOKENSPEED_MAX_CONNECTIONS": "64"}).check()


PLACE = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("environ", "is_traced"),
    [
        ({}, False),
        (PLACE, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({**PLACE, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**PLACE, "OTEL_SDK_DISABLED": "True"}, False),
        ({**PLACE, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:4318"}, False),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, False),
    ],
)
def test_traces_are_asked_for_by_the_usual_variables(
    environ: dict[str, str], is_traced: bool
) -> None:
    config = load_config(environ)
    assert config.is_traced == is_traced
    config.check()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
    ],
)
def test_traces_that_are_not_spoken_are_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        load_config({**PLACE, name: value})


def test_traces_need_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.config.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"tokenspeed-live\[otel\]"):
        load_config(PLACE).check()
