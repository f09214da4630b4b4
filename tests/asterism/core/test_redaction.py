"""Secrets do not reach what is printed or stored beside the conversation."""

import pytest

from asterism.core.values import MASK, describe_error, redact, redact_values

SECRETS = [
    "sk-proj-abcdefghijklmnop1234",
    "sk_live_abcdefgh12345678",
    "ghp_abcdefghijklmnop1234",
    "github_pat_11ABCDEFG0abcdefghijkl",
    "glpat-abcdefghijkl1234",
    "xoxb-1234567890-abcdef",
    "AKIAIOSFODNN7EXAMPLE",
    "AIzaSyA-abcdefghijklmnopqrstu",
    "lsv2_pt_abcdefghijklmnop",
    "hf_abcdefghijklmnopqrst",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("text", ["{}", "The key {} is wrong.", '{{"error": "{}"}}', "x={}&y=1"])
def test_known_keys_are_taken_out(secret: str, text: str) -> None:
    found = redact(text.format(secret))
    assert secret not in found
    assert MASK in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://ann:hunter2@db/x", f"postgresql://ann:{MASK}@db/x"),
        ("Authorization: Bearer abc.def-123", f"Authorization: Bearer {MASK}"),
        ("password=hunter2", f"password={MASK}"),
        ('"api_key": "abc123"', f'"api_key": "{MASK}"'),
        ("OPENAI_API_KEY=abc123 model=x", f"OPENAI_API_KEY={MASK} model=x"),
        ("access_token: abc123, user: ann", f"access_token: {MASK}, user: ann"),
        ("client-secret = 'abc123'", f"client-secret = '{MASK}'"),
        ("PAſSWORD=hunter2", f"PAſSWORD={MASK}"),
        ("token_secret: 123456", f"token_secret: {MASK}"),
        (
            "a -----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- b",
            f"a {MASK} b",
        ),
    ],
)
def test_named_secrets_are_taken_out(text: str, expected: str) -> None:
    assert redact(text) == expected
    assert redact(expected) == expected  # errors are described more than once


@pytest.mark.parametrize(
    "text",
    [
        "The venue costs $2,400.00 and holds 50 people.",
        "max_tokens: 4096 was reached",
        "https://example.org/a:b@c",
        "The task is keyed by date; the risk-averse skip it.",
        "token count 17",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redact(text) == text


def test_errors_are_described_without_secrets() -> None:
    assert describe_error(ValueError("bad key sk-abcdefghijkl")) == f"ValueError: bad key {MASK}"
    assert describe_error(ValueError()) == "ValueError"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"api_key": "abc", "n": 1}, {"api_key": MASK, "n": 1}),
        ({"deep": [{"my_password": "x"}]}, {"deep": [{"my_password": MASK}]}),
        ({"input_tokens": 12, "max_tokens": "12"}, {"input_tokens": 12, "max_tokens": "12"}),
        ({"token": ""}, {"token": ""}),
        (["password=hunter2", None], [f"password={MASK}", None]),
        ({"ghp_abcdefghijklmnop1234": 1}, {MASK: 1}),
    ],
)
def test_secrets_are_taken_out_of_json(value: object, expected: object) -> None:
    assert redact_values(value) == expected


@pytest.mark.parametrize(
    "part", ["x", "a.", "token", "secret-", "eyJ-", "bearer ", "token ", "a://:", "sk-", "key_"]
)
def test_a_long_text_is_read_once(part: str) -> None:
    """A search that starts anew at each place would take minutes here."""
    redact(part * (300_000 // len(part)))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Cookie: session=abcdef123456; theme=dark", "Cookie: [redacted]"),
        ("set-cookie: sid=abcdef; Path=/", "set-cookie: [redacted]"),
        ('{"cookie": "session=abcdef"}', '{"cookie": "[redacted]"}'),
        ("AccountName=x;AccountKey=aGVsbG8gd29ybGQ=;EndpointSuffix=y", "AccountName=x;AccountKey"),
        ("//registry/:_authToken=npm_0123456789abcdefABCDEF", "//registry/:_authToken="),
        ("got npm_0123456789abcdefABCDEFghijkl0123456789", "got [redacted]"),
        ("sid SK0123456789abcdef0123456789abcdef end", "sid [redacted] end"),
    ],
)
def test_more_keys_are_found(text: str, kept: str) -> None:
    found = redact(text)
    assert kept in found and MASK in found
    for secret in ("abcdef", "aGVsbG8", "npm_0", "SK01"):
        assert secret not in found
    assert redact(found) == found


def test_a_word_about_cookies_and_codes_stays() -> None:
    for text in (
        "We bake a cookie today",
        "SKU SK12 AC",
        "the npm_config file",
        "cookies are nice",
    ):
        assert redact(text) == text
