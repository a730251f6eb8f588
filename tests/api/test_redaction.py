"""No header, key or signature gets through; sentences without any stay as they are."""

import pytest

from sea_api.redaction import (
    BLOCK,
    HIDDEN,
    is_secret_name,
    redacted,
    redacted_end,
    redacted_log,
    redacted_to,
    without_secret_values,
)

SIGNATURE = "d2f1" * 16
SIGNED = (
    "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE\n/20261130/us-east-1/s3/aws4_request, "
    f"SignedHeaders=host;x-amz-date, Signature={SIGNATURE}"
)


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        (f"Invalid header value b{SIGNED.encode()!r}", ["AKIAIOSF", "20261130", SIGNATURE]),
        (f"{{'Authorization': '{SIGNED}'}}", ["AKIAIOSF", SIGNATURE]),
        ("headers: {'Authorization': 'Bearer abc.def-ghi'}", ["abc.def-ghi"]),
        ("Authorization: Basic dXNlcjpwYXNz", ["dXNlcjpwYXNz"]),
        ("authorization=abc123 was refused", ["abc123"]),
        ("got 401 with Bearer s3cret-token-of-job", ["s3cret-token-of-job"]),
        ("AWS AKIAIOSFODNN7EXAMPLE:frJIUN8DYpKDtOLCwo//yllqDzg=", ["frJIUN8", "AKIAIOSF"]),
        (
            "https://s3/b/k?X-Amz-Credential=AKIAX%2F20261130&X-Amz-Signature=abcd&x=1",
            ["AKIAX", "abcd"],
        ),
        ("https://b/k?AWSAccessKeyId=AKIAX&Signature=abcd%3D", ["AKIAX", "abcd"]),
        ("{'x-amz-security-token': b'FwoGZXIvYXdz'}", ["FwoGZXIvYXdz"]),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG", ["wJalrXUt"]),
        ('{"api_key": "0123abc"}', ["0123abc"]),
        ("SEA_TOKEN=abcdef", ["abcdef"]),
        ("proxy http://user:hunter2@proxy:3128 refused", ["hunter2", "user"]),
        ("The key ASIAIOSFODNN7EXAMPLE is expired", ["ASIAIOSFODNN7EXAMPLE"]),
        (
            "Incorrect API key provided: sk-proj-0123456789abcdefXYZ",
            ["sk-proj-0123456789abcdefXYZ"],
        ),
        ("hf_abcdefghijklmnopqrst is invalid", ["hf_abcdefghijklmnopqrst"]),
        ("password: hunter2, host x", ["hunter2"]),
        ("token eyJhbGciOi.eyJzdWIiOi.SflKxwRJ", ["eyJhbGciOi", "SflKxwRJ"]),
    ],
)
def test_credentials_are_taken_out(text: str, secrets: list[str]) -> None:
    found = redacted(text)
    assert [secret for secret in secrets if secret in found] == []
    assert HIDDEN in found
    assert redacted(found) == found, "a status that is written again must not change"
    harmless = "step 1: loss 0.1, 4210 tokens/s\n" * (BLOCK // 8)
    assert redacted_log(f"{harmless}{text}\n{harmless}") == f"{harmless}{found}\n{harmless}"


@pytest.mark.parametrize(
    "text",
    [
        "Secret n/s3 that spec.storage.credentialsSecret names lacks AWS_SECRET_ACCESS_KEY; add.",
        "The server doesn't accept the keys (SignatureDoesNotMatch). Correct those in the job's "
        "credentialsSecret.",
        "s3://bucket/prefix/stages/rl/checkpoints/head.json doesn't exist.",
        "The coordinator at http://127.0.0.1:8080 doesn't answer: time-out.",
        "userModel.maxTokens=4096 exceeds model.contextLength: lower it.",
        "eos_token: <|im_end|> isn't in the vocabulary",
        "Access denied, or no such object: without s3:ListBucket S3 doesn't say which.",
        "spec.userModel.apiKeySecret: openai",
        '1 of 2 pods made; pods "j-0" is forbidden: exceeded quota: team, requested: pods=1',
    ],
)
def test_sentences_without_credentials_stay(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("HF_TOKEN", True),
        ("WANDB_API_KEY", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("AWS_ACCESS_KEY_ID", True),
        ("DB_PASSWORD", True),
        ("password", True),
        ("GITHUB_PAT", True),
        ("PROXY_AUTH", True),
        ("SENTRY_DSN", True),
        ("OPENAI_API_KEYS", True),
        ("MAX_TOKENS", False),
        ("TOKENIZERS_PARALLELISM", False),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", False),
        ("NCCL_DEBUG", False),
        ("KEYBOARD", False),
        ("PATH", False),
        ("COMPASS", False),
        ("SEA_JOB", False),
    ],
)
def test_names_of_secrets(name: str, secret: bool) -> None:
    assert is_secret_name(name) is secret


def test_a_spec_loses_its_secrets_and_nothing_else() -> None:
    variables = [
        {"name": "HF_TOKEN", "value": "very-secret"},
        {"name": "HF_HOME", "value": "/data"},
        {"name": "WANDB_API_KEY", "valueFrom": {"secretKeyRef": {"name": "w", "key": "k"}}},
    ]
    spec = {
        "trainer": {"template": {"env": variables}, "replicas": 2},
        "userModel": {"url": "https://me:hunter2@example.com/v1"},
    }
    shown = without_secret_values(spec)
    assert shown["trainer"]["template"]["env"] == [
        {"name": "HF_TOKEN", "value": HIDDEN},
        *variables[1:],
    ]
    assert "hunter2" not in shown["userModel"]["url"]
    assert shown["trainer"]["replicas"] == 2
    assert spec["trainer"]["template"]["env"][0]["value"] == "very-secret", "a copy"  # type: ignore[index]


def test_a_cut_leaves_no_part_of_a_credential() -> None:
    """Half of one has no form that gives it away."""
    text = "export AWS_SECRET_ACCESS_KEY=abcdefghijklmnop"
    assert "ghijklmnop" not in redacted_end(text, 10)
    key = "hf_" + "x" * 20
    assert "hf_" not in redacted_to(f"token {key}", 16)


def test_what_is_hidden_makes_no_text_too_long() -> None:
    text = "password=a " * 93
    assert len(redacted(text)) > len(text)
    assert len(redacted_to(text, 1024)) == 1024
    assert redacted_to(redacted_to(text, 1024), 1024) == redacted_to(text, 1024)


def test_a_long_word_takes_no_time_by_the_square_of_its_length() -> None:
    """An inline image of a proxy's page held up the operator's loop for minutes."""
    word = "a" * 1_000_000
    assert redacted(f"{word} password=x") == f"{word} password={HIDDEN}"
    assert redacted(f"{word}://u:p@h") == f"{word}://{HIDDEN}@h"
